"""What processes have used, from /proc."""

from __future__ import annotations

import os
import subprocess
import sys

from amqpd.cli.load.usage import Usage, load_average, machine_cpu, own_cpu_s, tree_usage


def test_own_process_uses_memory_and_time() -> None:
    usage = tree_usage(os.getpid())
    assert usage.rss_bytes > 1 << 20
    assert usage.cpu_s >= 0
    assert own_cpu_s() > 0


def test_children_count_into_their_parents_tree() -> None:
    alone = tree_usage(os.getpid()).rss_bytes
    with subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=-1, stdout=-1) as child:
        assert child.stdout is not None
        child.stdout.readline()
        together, below = tree_usage(os.getpid()).rss_bytes, tree_usage(child.pid).rss_bytes
        assert below > 1 << 20
        assert together >= alone // 2 + below
        child.communicate(b"\n")


def test_process_that_is_not_there_uses_nothing() -> None:
    assert tree_usage(0) == tree_usage((1 << 22) + 1) == Usage()


def test_machine_counts_since_it_started() -> None:
    assert machine_cpu().process_s > 0
    assert load_average() >= 0
