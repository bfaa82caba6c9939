"""The command line: `python -m tests.differential`, or tests/differential/run from anywhere."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from contextlib import ExitStack

from . import brokers, runner
from .accepted import ACCEPTED
from .session import Address


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="differential", description="The same transcript on amqpd and on RabbitMQ.")
    parser.add_argument("patterns", nargs="*", help="groups, or parts of names; everything without them")
    parser.add_argument("--left", metavar="URL", help="the model (default: start rabbitmq-server)")
    parser.add_argument("--right", metavar="URL", help="the broker under test (default: start amqpd)")
    parser.add_argument("--golden", action="store_true", help="the model is the recorded transcript of RabbitMQ 3.10")
    parser.add_argument("--record", action="store_true", help="record the model's transcript")
    parser.add_argument("--steady", type=int, metavar="N", help="run the model N times against its own recording")
    parser.add_argument("--show", action="store_true", help="print the transcripts of the right side")
    parser.add_argument("--changes", action="store_true", help="print differences as accepted.py wants them")
    parser.add_argument("--list", action="store_true", help="print the behaviours and the count per group")
    parser.add_argument("--workers", type=int, default=runner.WORKERS_COUNT, metavar="N")
    return parser.parse_args()


def _list() -> None:
    behaviours = runner.load().values()
    for behaviour in behaviours:
        print(
            f"{behaviour.group:12} {behaviour.name}" + ("  (accepted difference)" if behaviour.name in ACCEPTED else "")
        )
    counts = Counter(behaviour.group for behaviour in behaviours)
    print("\n" + ", ".join(f"{group} {count}" for group, count in counts.items()) + f": {len(behaviours)} behaviours")


def _report(comparison: runner.Comparison, *, is_changes: bool) -> None:
    for found in comparison.differing:
        print(f"\n{runner.BEHAVIOURS[found.name].group} / {found.name}")
        print("\n".join(f"    {line!r}," for line in found.changes) if is_changes else found.text)
    for name in comparison.stale:
        print(f"\n{name}: both brokers agree, but accepted.py still has a difference for it")
    print(
        f"\n{len(comparison.same)} the same, {len(comparison.accepted)} differ as accepted, "
        f"{len(comparison.differing)} differ, {len(comparison.stale)} stale"
    )


def main() -> int:
    arguments = _arguments()
    if arguments.list:
        _list()
        return 0
    behaviours = runner.select(arguments.patterns)
    if unknown := runner.unknown_accepted():
        print(f"accepted.py names behaviours that do not exist: {', '.join(unknown)}")
        return 1
    with ExitStack() as stack:
        try:
            is_model_needed = arguments.record or arguments.steady or not arguments.golden
            model = Address.of(arguments.left) if arguments.left else None
            if model is None and is_model_needed:
                model = stack.enter_context(brokers.rabbitmq())
            if arguments.record or arguments.steady:
                assert model is not None
                return _steady(behaviours, model, arguments)
            tested = Address.of(arguments.right) if arguments.right else stack.enter_context(brokers.amqpd())
        except brokers.CannotStart as reason:
            print(reason)
            return 2
        if arguments.golden:
            left = runner.read_golden()
        else:
            assert model is not None
            left = runner.run(behaviours, model, arguments.workers).transcripts
        right = runner.run(behaviours, tested, arguments.workers)
    if arguments.show:
        for name, lines in right.transcripts.items():
            print(f"\n{name}", *lines, sep="\n    ")
    comparison = runner.compare(left, right.transcripts)
    _report(comparison, is_changes=arguments.changes)
    return 0 if comparison.is_good else 1


def _steady(behaviours: list[runner.Behaviour], model: Address, arguments: argparse.Namespace) -> int:
    """Record the model, or run it against the recording: what is not the same each time proves nothing."""
    if arguments.record:
        result = runner.run(behaviours, model, arguments.workers)
        recorded = runner.read_golden() if arguments.patterns and runner.GOLDEN.exists() else {}
        recorded |= result.transcripts
        runner.write_golden({name: recorded[name] for name in runner.BEHAVIOURS if name in recorded})
        print(f"{len(result.transcripts)} recorded in {result.duration_s:.1f} s")
    is_good = True
    for _ in range(arguments.steady or 0):
        result = runner.run(behaviours, model, arguments.workers)
        comparison = runner.compare(runner.read_golden(), result.transcripts, is_amqpd_right=False)
        _report(comparison, is_changes=arguments.changes)
        slowest = ", ".join(f"{name} {seconds:.1f}" for seconds, name in result.slowest)
        print(f"{result.duration_s:.1f} s; slowest: {slowest}")
        is_good = is_good and comparison.is_good
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
