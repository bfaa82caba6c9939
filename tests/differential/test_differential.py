"""amqpd beside RabbitMQ, one test per behaviour: against the recorded transcript, and against a live server.

All behaviours run once, in parallel, before the first test; each test then looks at its own transcript.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.differential import brokers, runner
from tests.needs import leave_out

NAMES = list(runner.load())
ASKED_AGAIN_MAX = 3


@pytest.fixture(scope="module")
def amqpd_transcripts() -> Iterator[runner.Transcripts]:
    try:
        with brokers.amqpd() as address:
            yield runner.run(runner.select([]), address).transcripts
    except brokers.CannotStart as reason:
        pytest.fail(str(reason), pytrace=False)


@pytest.fixture(scope="module")
def rabbitmq_transcripts(recorded_transcripts: runner.Transcripts) -> Iterator[runner.Transcripts]:
    """RabbitMQ's processes work side by side, so on a busy machine it may be slow to do what it has said: where it
    differs from its own recording it is asked again, one behaviour at a time."""
    if brokers.rabbitmq_command() is None:
        leave_out("rabbitmq-server is not installed (make test-deps): its recorded transcript stands in")
    try:
        with brokers.rabbitmq() as address:
            transcripts = runner.run(runner.select([]), address).transcripts
            for _ in range(ASKED_AGAIN_MAX):
                unlike = [name for name in transcripts if transcripts[name] != recorded_transcripts.get(name)]
                for name in unlike:
                    transcripts[name] = runner.run_one(runner.load()[name], address)
            yield transcripts
    except brokers.CannotStart as reason:
        pytest.fail(str(reason), pytrace=False)


@pytest.fixture(scope="module")
def recorded_transcripts() -> runner.Transcripts:
    return runner.read_golden()


def _assert_same(name: str, left: runner.Transcripts, right: runner.Transcripts) -> None:
    if name not in right:
        pytest.skip("this amqpd has no --definitions to set policies with")
    comparison = runner.compare({name: left.get(name, ["(not recorded)"])}, {name: right[name]})
    if comparison.differing:
        pytest.fail(f"- RabbitMQ, + amqpd\n{comparison.differing[0].text}", pytrace=False)
    if comparison.stale:
        pytest.fail(f"both brokers agree, but accepted.py still has a difference for {name}", pytrace=False)


def test_recording_has_exactly_the_behaviours_there_are(recorded_transcripts: runner.Transcripts) -> None:
    assert list(recorded_transcripts) == NAMES


def test_every_accepted_difference_belongs_to_a_behaviour() -> None:
    assert runner.unknown_accepted() == []


@pytest.mark.parametrize("name", NAMES)
def test_amqpd_says_what_was_recorded(
    name: str, recorded_transcripts: runner.Transcripts, amqpd_transcripts: runner.Transcripts
) -> None:
    _assert_same(name, recorded_transcripts, amqpd_transcripts)


@pytest.mark.differential
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_amqpd_says_what_rabbitmq_says(
    name: str, rabbitmq_transcripts: runner.Transcripts, amqpd_transcripts: runner.Transcripts
) -> None:
    _assert_same(name, rabbitmq_transcripts, amqpd_transcripts)
