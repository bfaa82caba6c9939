"""Settings of the process that makes load."""

from __future__ import annotations

import gc
import resource
from collections.abc import Iterator

import pytest

from amqpd.cli.load.process import allow_files, keep_freed_memory, prepare_for_load


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    gc.enable()
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_load_runs_without_garbage_collection() -> None:
    prepare_for_load()
    assert not gc.isenabled()


def test_allocator_is_asked_wherever_it_can_be() -> None:
    assert keep_freed_memory() in (True, False)


def test_open_files_are_raised_as_far_as_the_hard_limit_allows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert allow_files(soft) == soft
    if hard != resource.RLIM_INFINITY:
        assert allow_files(hard + 1000) == hard
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
