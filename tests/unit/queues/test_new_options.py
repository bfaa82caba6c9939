"""Deadlines by a new TTL are in test_retime.py."""

from __future__ import annotations

from amqpd.queues.arguments import QueueOptions, read_options
from amqpd.queues.new_options import apply_options
from amqpd.queues.queue import Queue
from amqpd.wire.field_table import encode_table
from tests.fakes.core import new_message, new_queue


def options(**values: object) -> QueueOptions:
    return read_options(encode_table({f"x-{key.replace('_', '-')}": value for key, value in values.items()}), "here")


def filled(*bodies: bytes) -> Queue:
    queue = new_queue()
    for at, body in enumerate(bodies):
        queue.publish(new_message(at + 1, body))
    return queue


def bodies(queue: Queue) -> list[bytes]:
    return [entry.message.body for entry in queue.ready.entries()]


def test_what_is_too_much_by_a_new_limit_leaves_at_once_unless_it_only_refuses() -> None:
    queue = filled(b"a", b"b", b"c")
    apply_options(queue, options(max_length=2, overflow="reject-publish"))
    assert bodies(queue) == [b"a", b"b", b"c"]
    assert queue.refuses(1)
    apply_options(queue, options(max_length=2))
    assert bodies(queue) == [b"b", b"c"]
    apply_options(queue, options(max_length_bytes=1))
    assert bodies(queue) == [b"c"]
    apply_options(queue, options())
    queue.publish(new_message(4, b"d"))
    assert bodies(queue) == [b"c", b"d"]


def test_the_time_until_an_unused_queue_goes_begins_when_it_is_set() -> None:
    queue = filled()
    queue.agenda.monotonic_ms = 5000
    apply_options(queue, options(expires=1000))
    assert not queue.is_expired
    queue.agenda.monotonic_ms = 5900
    apply_options(queue, options(expires=1000, max_length=1))
    queue.agenda.monotonic_ms = 6000
    assert queue.is_expired


def test_who_holds_messages_hears_of_a_new_consumer_timeout_only() -> None:
    queue = filled()
    apply_options(queue, options(max_length=1))
    assert not queue.agenda.has_new_timeouts
    apply_options(queue, options(max_length=1, consumer_timeout=60_000))
    assert queue.agenda.has_new_timeouts


def test_a_window_comes_changes_and_goes() -> None:
    queue = filled()
    wanted = options()
    wanted.dedup_window_ms = 1000
    apply_options(queue, wanted)
    window = queue.dedup
    assert window is not None and window.window_ms == 1000
    longer = options()
    longer.dedup_window_ms = 2000
    apply_options(queue, longer)
    assert queue.dedup is window
    assert window.window_ms == 2000
    apply_options(queue, options())
    assert queue.dedup is None
    assert window.is_closed
