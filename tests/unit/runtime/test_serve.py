"""What becomes of errors in callbacks; the life of a process is in tests/live/test_process.py."""

from __future__ import annotations

import asyncio

import pytest

from amqpd.runtime.serve import Server
from tests.fakes.shell import FakeLoop, World


class Process:
    """A server as far as errors go."""

    def __init__(self) -> None:
        self.world = World()
        self.server = server = Server.__new__(Server)
        server._logger = self.world.turn._notices._logger
        server._stopping = asyncio.Event()
        server._failure = server._bug = None

    def meets(self, **context: object) -> None:
        self.server._on_loop_error(FakeLoop(), context)  # type: ignore[arg-type]


def test_an_error_of_a_socket_is_its_peers() -> None:
    process = Process()
    process.meets(message="Fatal write error", exception=ConnectionResetError("gone"), transport=object())
    assert process.world.log == ["Fatal write error: gone"]
    assert not process.server._stopping.is_set()


def test_an_operating_system_error_of_ours_is_said_with_its_traceback_and_is_not_the_end() -> None:
    process = Process()
    levels: list[tuple[str, bool]] = []
    logger = process.server._logger
    logger.addFilter(lambda record: levels.append((record.levelname, record.exc_info is not None)) or True)
    process.meets(message="Exception in callback", exception=OSError(5, "Input/output error"))
    assert levels == [("ERROR", True)]
    assert not process.server._stopping.is_set()


@pytest.mark.parametrize("context", [{}, {"transport": object(), "protocol": object()}])
def test_any_other_error_is_a_bug_wherever_it_came_up(context: dict[str, object]) -> None:
    process = Process()
    error = AssertionError("the core")
    process.meets(message="Exception in callback", exception=error, **context)
    assert process.server._bug is error
    assert process.server._stopping.is_set()


def test_the_core_may_fail_with_an_operating_system_error_too() -> None:
    process = Process()
    error = OSError(5, "Input/output error")
    process.server.core_failed(error)
    process.server.core_failed(ValueError("the next one"))
    assert process.server._bug is error
