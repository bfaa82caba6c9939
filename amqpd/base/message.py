"""A message as the broker holds it, and the segment whose space it uses.

Headers are the bytes that came in: they are never decoded on the way through, and never re-encoded.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64, mypyc_attr


@final
class SegmentUse:
    """How much of one log segment is still needed. The log owns it; each logged message points to its own.

    Counted by holding: a message that two queues hold counts twice, each time with its share of the bytes.
    """

    def __init__(self, number: i64) -> None:
        self.number = number
        self.size_bytes: i64 = 0
        self.live_count: i64 = 0
        self.live_bytes: i64 = 0
        # So little of it is live that its messages are being moved out; set by reclaim.
        self.is_leaving = False


# Not tracked by the garbage collector: it would look at hundreds of thousands in one go, and find that they make no cycles.
@final
@mypyc_attr(acyclic=True)
class Message:
    """One published message, shared by every queue that holds it.

    `message_id` grows with every message of the node, logged or not: it is the message's name in log records and
    its place in the order of each queue. (The AMQP property `message-id` stays inside `header`.)
    """

    def __init__(self, message_id: i64, route_key: bytes, header: bytes, body: bytes) -> None:
        self.message_id = message_id
        # Exchange and routing key as two short strings, exactly as basic.publish and basic.deliver carry them.
        self.route_key = route_key
        # Payload of the content header frame: class, weight, body size, property flags and properties.
        self.header = header
        self.body = body
        # Its own time to live in milliseconds (property expiration); -1 without one.
        self.ttl_ms: i64 = -1
        # Where it stands in the log: None while it is in memory only.
        self.segment: SegmentUse | None = None
        self.offset: i64 = 0
        self.logged_bytes: i64 = 0
        # Each holder's share of them is logged_bytes >> share_shift.
        self.share_shift: i64 = 0
        # How many durable queues hold it through this very object; what a queue holds on disk only is not among them.
        self.holders: i64 = 0
        # Wall clock when it was logged; survives a restart, never used for order.
        self.enqueued_ms: i64 = 0
