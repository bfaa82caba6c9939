"""x-expires: a queue that nobody uses goes by itself. What is using it, and what is not."""

from __future__ import annotations

from ..channel import Channel
from ..codec import Typed
from ..registry import behaviour
from ..session import Session

# Time enough on a busy machine to do what keeps the queue before it goes.
EXPIRES = 600
SOONER = 400
LATER = 1000


def _queue(s: Session, expires_ms: int = EXPIRES) -> tuple[Channel, str]:
    ch = s.channel()
    return ch, ch.queue("q", arguments={"x-expires": expires_ms})


@behaviour("queue-expiry")
def unused_queue_goes(s: Session) -> None:
    _, q = _queue(s, 100)
    s.pause(400)
    s.queue_exists(q, False)


@behaviour("queue-expiry")
def unused_queue_goes_with_its_messages(s: Session) -> None:
    ch, q = _queue(s, 100)
    ch.publish_each(q, b"a", b"b")
    s.pause(400)
    s.queue_exists(q, False)


@behaviour("queue-expiry")
def unused_durable_queue_goes(s: Session) -> None:
    q = s.channel().queue("q", durable=True, arguments={"x-expires": 100})
    s.pause(400)
    s.queue_exists(q, False)


@behaviour("queue-expiry")
def queue_with_a_consumer_stays(s: Session) -> None:
    ch, q = _queue(s, 100)
    ch.consume(q, "tag")
    s.pause(400)
    s.queue_exists(q, True)


@behaviour("queue-expiry")
def time_runs_from_the_last_cancel(s: Session) -> None:
    ch, q = _queue(s, 100)
    ch.consume(q, "tag")
    s.pause(300)
    ch.call("basic.cancel", consumer_tag="tag")
    s.pause(400)
    s.queue_exists(q, False)


@behaviour("queue-expiry")
def publishing_is_no_use(s: Session) -> None:
    ch, q = _queue(s)
    s.pause(SOONER)
    ch.publish("", q, b"a")
    s.pause(SOONER)
    s.queue_exists(q, False)


@behaviour("queue-expiry")
def get_is_use(s: Session) -> None:
    ch, q = _queue(s)
    s.pause(SOONER)
    ch.get(q)
    s.pause(SOONER)
    s.queue_exists(q, True)


@behaviour("queue-expiry")
def declaring_again_is_use(s: Session) -> None:
    ch, q = _queue(s)
    s.pause(SOONER)
    ch.call("queue.declare", queue=q, arguments={"x-expires": EXPIRES})
    s.pause(SOONER)
    s.queue_exists(q, True)


@behaviour("queue-expiry")
def declaring_passively_is_use(s: Session) -> None:
    ch, q = _queue(s)
    s.pause(SOONER)
    ch.call("queue.declare", queue=q, passive=True)
    s.pause(SOONER)
    s.queue_exists(q, True)


@behaviour("queue-expiry")
def binding_is_no_use(s: Session) -> None:
    ch, q = _queue(s)
    s.pause(SOONER)
    ch.bind(q, "amq.direct", "key")
    s.pause(SOONER)
    s.queue_exists(q, False)


@behaviour("queue-expiry")
def purging_is_no_use(s: Session) -> None:
    ch, q = _queue(s)
    s.pause(SOONER)
    ch.call("queue.purge", queue=q)
    s.pause(SOONER)
    s.queue_exists(q, False)


@behaviour("queue-expiry")
def acking_is_no_use(s: Session) -> None:
    ch, q = _queue(s)
    ch.publish("", q, b"a")
    ch.get(q)
    s.pause(SOONER)
    ch.ack(1)
    s.pause(SOONER)
    s.queue_exists(q, False)


@behaviour("queue-expiry")
def unacked_message_does_not_keep_the_queue(s: Session) -> None:
    ch, q = _queue(s)
    ch.publish("", q, b"a")
    ch.get(q)
    s.pause(LATER)
    s.queue_exists(q, False)
    ch.ack(1)
    ch.sync()
    ch.call("basic.qos", prefetch_count=1)


@behaviour("queue-expiry")
def bindings_go_with_the_expired_queue(s: Session) -> None:
    ch, q = _queue(s, 100)
    x = ch.exchange("x", "direct", auto_delete=True)
    ch.bind(q, x, "key")
    s.pause(400)
    s.exchange_exists(x, False)


@behaviour("queue-expiry")
def expired_queue_may_be_declared_anew_with_other_arguments(s: Session) -> None:
    ch, q = _queue(s, 100)
    ch.publish("", q, b"a")
    s.pause(400)
    ch.call("queue.declare", queue=q, arguments={"x-expires": 60000})


@behaviour("queue-expiry")
def exclusive_queue_expires_too(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", exclusive=True, arguments={"x-expires": 100})
    s.pause(400)
    ch.call("queue.declare", queue=q, passive=True)


@behaviour("queue-expiry")
def auto_delete_queue_expires_without_ever_having_a_consumer(s: Session) -> None:
    q = s.channel().queue("q", auto_delete=True, arguments={"x-expires": 100})
    s.pause(400)
    s.queue_exists(q, False)


@behaviour("queue-expiry")
def publish_to_an_expired_queue_is_returned(s: Session) -> None:
    ch, q = _queue(s, 100)
    s.pause(400)
    ch.publish("", q, b"a", mandatory=True)
    ch.read()


# Arguments that a classic queue takes besides


@behaviour("queue-expiry")
def x_expires_may_have_any_integer_type(s: Session) -> None:
    ch = s.channel()
    for tag in "bBsuIilL":
        ch.queue(f"q {tag}", arguments={"x-expires": Typed(tag, 100)})


@behaviour("queue-expiry")
def each_value_of_x_queue_mode(s: Session) -> None:
    ch = s.channel()
    for place, value in enumerate(("default", "lazy", "Lazy", "", 1, True, None)):
        ch.attempt("queue.declare", queue=s.name(f"q {place}"), arguments={"x-queue-mode": value})


@behaviour("queue-expiry")
def another_x_queue_mode_is_406(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", arguments={"x-queue-mode": "lazy"})
    for arguments in ({"x-queue-mode": "lazy"}, {"x-queue-mode": "default"}, {}):
        ch.attempt("queue.declare", queue=q, arguments=arguments)


@behaviour("queue-expiry")
def each_value_of_x_queue_version(s: Session) -> None:
    ch = s.channel()
    for place, value in enumerate((1, 2, Typed("l", 1), 0, 3, -1, "1", True, None)):
        ch.attempt("queue.declare", queue=s.name(f"q {place}"), arguments={"x-queue-version": value})


@behaviour("queue-expiry")
def another_x_queue_version_is_406(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", arguments={"x-queue-version": 1})
    for arguments in ({"x-queue-version": 1}, {"x-queue-version": 2}, {}):
        ch.attempt("queue.declare", queue=q, arguments=arguments)


@behaviour("queue-expiry")
def classic_queue_refuses_arguments_of_streams_and_quorum_queues(s: Session) -> None:
    ch = s.channel()
    for name, value in (
        ("x-max-age", "7D"),
        ("x-stream-max-segment-size-bytes", 1000),
        ("x-quorum-initial-group-size", 3),
        ("x-initial-cluster-size", 3),
        ("x-max-in-memory-length", 3),
        ("x-max-in-memory-bytes", 3),
    ):
        ch.attempt("queue.declare", queue=s.name(name), arguments={name: value})


@behaviour("queue-expiry")
def classic_queue_and_a_leader_locator(s: Session) -> None:
    ch = s.channel()
    ch.attempt("queue.declare", queue=s.name("q"), arguments={"x-queue-leader-locator": "client-local"})


@behaviour("queue-expiry")
def classic_queue_and_a_delivery_limit(s: Session) -> None:
    ch = s.channel()
    ch.attempt("queue.declare", queue=s.name("q"), arguments={"x-delivery-limit": 3})


@behaviour("queue-expiry")
def classic_queue_and_a_dead_letter_strategy(s: Session) -> None:
    ch = s.channel()
    ch.attempt("queue.declare", queue=s.name("q"), arguments={"x-dead-letter-strategy": "at-least-once"})


@behaviour("queue-expiry")
def x_queue_master_locator_is_compared(s: Session) -> None:
    ch = s.channel()
    q = ch.queue("q", arguments={"x-queue-master-locator": "client-local"})
    ch.attempt("queue.declare", queue=q, arguments={"x-queue-master-locator": "client-local"})
    ch.attempt("queue.declare", queue=q)
