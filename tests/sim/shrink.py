"""A failing plan made smaller: fewer steps, clients and troubles, as long as it fails in the same way.

Owns the search only. A part that is left out changes what the others meet, so every try is a whole run.
"""

from __future__ import annotations

import time
from dataclasses import replace

from tests.sim.ledger import Violation
from tests.sim.plan import Plan
from tests.sim.world import World


class Failure:
    def __init__(self, world: World, violation: Violation) -> None:
        self.plan = world.plan
        self.story = world.story
        self.violation = violation


def failure_of(plan: Plan) -> Failure | None:
    """None if nothing goes wrong."""
    world = World(plan)
    violation = world.violation()
    return Failure(world, violation) if violation is not None else None


def shrink(failure: Failure, budget_s: float = 20.0) -> Failure:
    """The smallest failure of the same kind that was found in this time."""
    deadline_s = time.monotonic() + budget_s
    best = failure
    is_better = True
    while is_better:
        is_better = False
        for plan in _smaller(best.plan):
            if time.monotonic() > deadline_s:
                return best
            found = failure_of(plan)
            if found is not None and found.violation.kind == failure.violation.kind:
                best = found
                is_better = True
                break
    return best


def _smaller(plan: Plan) -> list[Plan]:
    """Large cuts first."""
    plans = [
        replace(plan, steps=steps) for steps in (plan.steps // 2, plan.steps * 3 // 4, plan.steps - 5) if steps > 0
    ]
    for number in range(len(plan.clients)):
        plans.append(replace(plan, clients=plan.clients[:number] + plan.clients[number + 1 :]))
    for number in range(len(plan.troubles)):
        plans.append(replace(plan, troubles=plan.troubles[:number] + plan.troubles[number + 1 :]))
    for number, spec in enumerate(plan.clients):
        if spec.heartbeat_s or spec.no_ack:
            plain = replace(spec, heartbeat_s=0, no_ack=False)
            plans.append(replace(plan, clients=(*plan.clients[:number], plain, *plan.clients[number + 1 :])))
    if len(plan.routes) > 2:
        for number in range(len(plan.routes) - 1):
            plans.append(replace(plan, routes=plan.routes[:number] + plan.routes[number + 1 :]))
    if plan.body_bytes_max > 40:
        plans.append(replace(plan, body_bytes_max=40))
    if plan.crash_again_percent:
        plans.append(replace(plan, crash_again_percent=0))
    return plans


def report(failure: Failure, first: Failure) -> str:
    """For people: what is wrong, how to repeat it, and the story of it."""
    plan = failure.plan
    lines = [
        f"seed {plan.seed}: {first.violation}",
        "",
        f"The same with {plan.steps} of {first.plan.steps} steps, {len(plan.clients)} of {len(first.plan.clients)} clients and "
        f"{len(plan.troubles)} of {len(first.plan.troubles)} troubles: {failure.violation}",
        "",
        *failure.story.text(failure.violation.words or ("-",), 15),
        "",
        f"make sim SEED={plan.seed} tells the whole story of the seed.",
    ]
    return "\n".join(lines)
