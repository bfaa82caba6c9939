from __future__ import annotations

import logging

from amqpd.runtime.repeat import SAID_EVERY_S, Repeat
from tests.fakes.shell import FakeLoop, World


class Story:
    """A job that fails when it is told to, and a clock that moves when it is told to."""

    def __init__(self) -> None:
        self.world = World()
        self.loop = FakeLoop()
        self.fails = False
        self.round_count = 0
        self.now_s = 0.0
        logger: logging.Logger = self.world.turn._notices._logger
        self.repeat = Repeat(self.loop, 5.0, "the job", self.job, logger, lambda: self.now_s)  # type: ignore[arg-type]

    def job(self) -> None:
        self.round_count += 1
        if self.fails:
            raise OSError(5, "Input/output error")

    def next_round(self) -> None:
        delay_s, again = self.loop.later.pop()
        self.now_s += delay_s
        again()


def test_a_job_comes_again_until_it_is_stopped() -> None:
    story = Story()
    story.repeat.start()
    story.next_round()
    story.repeat._timer = None
    story.repeat.stop()
    story.next_round()
    assert story.loop.later == []


def test_a_round_that_fails_is_said_once_and_the_next_one_comes() -> None:
    story = Story()
    story.fails = True
    story.repeat.start()
    for _ in range(3):
        story.next_round()
    assert story.round_count == 4
    assert story.world.log == ["the job failed and is tried again: [Errno 5] Input/output error"]
    story.fails = False
    story.next_round()
    story.next_round()
    assert story.world.log[1:] == ["the job works again"]


def test_a_job_that_fails_for_long_is_said_once_a_minute() -> None:
    story = Story()
    story.fails = True
    story.repeat.start()
    for _ in range(int(SAID_EVERY_S // 5)):
        story.next_round()
    assert story.world.log[1:] == ["the job failed for the 13. time and is tried again: [Errno 5] Input/output error"]
