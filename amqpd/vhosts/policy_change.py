"""New policies reach the queues and exchanges of a vhost, a slice of them in each turn.

Owns how far they have come. What is declared meanwhile goes by the new ones at once; if they change again before it is done
it begins anew. Does not own what policies say (policies.py), nor what new options mean to a queue (queues/new_options.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from amqpd.queues.agenda import Agenda
from amqpd.queues.work import Work

if TYPE_CHECKING:
    from amqpd.vhosts.vhost import VHost

# What a queue or exchange costs, whatever the policies are; and each policy that its name is held against.
NAME_COST: Final = 4
POLICY_COST: Final = 8


@final
class PolicyChange(Work):
    def __init__(self, vhost: VHost, agenda: Agenda) -> None:
        self._vhost = vhost
        self._agenda = agenda
        self._queues: list[str] = []
        self._exchanges: list[str] = []
        self._is_at_work = False

    def begin(self) -> None:
        """Policies are different from now on."""
        # The next one last.
        self._queues = list(self._vhost.queues)
        self._queues.reverse()
        self._exchanges = list(self._vhost.exchanges)
        self._exchanges.reverse()
        if not self._is_at_work:
            self._is_at_work = not self._agenda.works.start(self)

    def go_on(self) -> bool:
        vhost = self._vhost
        agenda = self._agenda
        cost = NAME_COST + POLICY_COST * vhost.policies.count
        is_first = True
        while is_first or agenda.budget > 0:
            is_first = False
            # Queues first: it is mostly them that somebody waits for.
            if len(self._queues) > 0:
                vhost.apply_to_queue(self._queues.pop())
            elif len(self._exchanges) > 0:
                vhost.apply_to_exchange(self._exchanges.pop())
            else:
                break
            agenda.budget -= cost
        # What was found meanwhile may rest on options of before.
        vhost.routes.drop()
        is_done = len(self._queues) == 0 and len(self._exchanges) == 0
        if is_done:
            self._is_at_work = False
        return is_done

    def failed(self) -> None:
        """The one that it was about keeps its options; the others get theirs."""
        self._is_at_work = False
        if len(self._queues) > 0 or len(self._exchanges) > 0:
            self._is_at_work = not self._agenda.works.start(self)
