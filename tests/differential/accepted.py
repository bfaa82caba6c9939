"""Where amqpd differs from RabbitMQ 3.10 on purpose, and why.

An entry holds the exact lines that differ, RabbitMQ's with `-` and ours with `+`, as the runner prints them with
`--changes`. So a difference that changes fails like a new one, and so does an entry that is no longer needed.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Accepted(NamedTuple):
    reason: str
    changes: tuple[str, ...]


_DROPPED: Final = (
    "RabbitMQ waits three seconds and drops the socket without a word: it does not trust a peer that it "
    "does not know yet. Saying what is wrong gives nothing away here and spares people a search."
)

_CRASHED: Final = (
    "RabbitMQ's reader crashes on these octets, which drops the socket without a word; amqpd says what is "
    "wrong with them."
)

_INTERNAL: Final = (
    "RabbitMQ's channel crashes on these octets, which is 541 INTERNAL_ERROR; amqpd says what is wrong with them."
)

_NAN: Final = (
    "RabbitMQ's channel crashes on a NaN, Erlang having none; amqpd hands headers through without looking "
    "at their floats."
)

_OVERRUN: Final = "RabbitMQ misses that the body is complete and waits for ever; AMQP wants the connection closed."

_UNLIMITED: Final = (
    '0 is "no limit of mine" to AMQP and to many clients: amqpd takes its own limit then. RabbitMQ drops the socket.'
)

_EARLY_CLOSE: Final = "A peer may want to go at any time; RabbitMQ calls that an error before connection.open."

_FLOW: Final = "amqpd implements channel.flow, as AMQP has it; RabbitMQ refuses to stop."

_RECOVER: Final = "amqpd implements basic.recover without requeue, as AMQP has it; RabbitMQ refuses it."

_REPLY_TAG: Final = (
    "Delivery tags are unique on a channel, replies too; RabbitMQ gives a reply the tag that the next "
    "delivery will have."
)

_REPLY_RETURNED: Final = "A reply that arrives was routed: returning it is a mistake that RabbitMQ mended in 4.2."

_REPLY_IN_TX: Final = (
    "What a transaction publishes waits for its commit, as AMQP has it, replies too; RabbitMQ lets a reply out at "
    "once, and a rollback cannot take it back."
)

_ARGUMENTS_OF_NEWER_QUEUES: Final = (
    "Every queue of amqpd counts deliveries, and newer RabbitMQs take x-queue-leader-locator for classic queues: "
    "a client that brings them is served, where RabbitMQ 3.10 refuses."
)

_TURN: Final = (
    "Consumers held up together by a global prefetch go on in turn after it; AMQP does not say with whom, "
    "RabbitMQ begins with another."
)

_ON_TIME: Final = (
    "RabbitMQ looks for expired messages at the head of the queue only: behind a longer TTL they stay, and are counted. "
    "amqpd's are gone in time wherever they stand."
)

_TTL_LIVE: Final = (
    "RabbitMQ fixes the deadline of a message when it arrives, so a new TTL is for later messages only; amqpd's TTLs "
    "apply at once, to what is in the queue too."
)

_LAST_DEATH: Final = "x-last-death-* came with RabbitMQ 3.13; clients of newer brokers read them."

_HEADERS_KEPT: Final = (
    "RabbitMQ sorts the headers of a dead letter, and an x-death table when it is not the first; amqpd leaves them in "
    "the order in which they were sent, and puts its own behind them. The values are the same. (x-last-death-* as above.)"
)

_DEATHS_IN_ORDER: Final = (
    "x-death has the newest death first, as RabbitMQ's documentation says; RabbitMQ 3.10 turns the older ones round at "
    "each death, which makes a zigzag of them."
)

_DEATHS_OF_THIS_PUBLISH: Final = (
    "What a client publishes has not died yet: whatever its x-death says, it can't have come round in a cycle, as in "
    "RabbitMQ 4. In 3.10 a dead letter that is published again, to try once more, vanishes."
)

_NOT_LOST: Final = (
    "RabbitMQ loses a dead letter that its target refuses; amqpd keeps it in the source and tries again until there is "
    "room."
)

_KEPT_BY_NONE: Final = (
    "A publish that is nacked is in no queue of amqpd, so publishing it again makes no duplicates; RabbitMQ leaves it in "
    "the queues that had room."
)

_TX_ATOMIC: Final = "A transaction that is refused leaves nothing behind; RabbitMQ keeps what had room."

_LOWEST_FIRST: Final = "A full priority queue drops its least important message; RabbitMQ drops the most important one."

_NO_GET: Final = (
    "basic.get would go past the single active consumer and so past the order that it is there for; RabbitMQ refuses it "
    "for quorum queues only."
)

_BCC: Final = "A BCC key is the sender's secret: it ends with the first routing, and a dead letter goes by the keys that it shows."

ACCEPTED: Final[dict[str, Accepted]] = {
    "bcc_keys_are_routed_by_but_not_told": Accepted(
        _BCC,
        (
            "-A.1 = dead one held: 'a'",
            "+A.1 = dead one held: nothing",
        ),
    ),
    "amqplain_without_a_password_is_refused": Accepted(
        _DROPPED,
        (
            "-A < (closed)",
            "+A < connection.close reply_code=403 reply_text='ACCESS_REFUSED - Login was refused using authentication mechanism AMQPLAIN. For details see the broker logfile.' class_id=0 method_id=0",
        ),
    ),
    "open_before_tune_ok_ends_the_connection": Accepted(
        _DROPPED,
        (
            "-A < (closed)",
            "+A < connection.close reply_code=503 reply_text='COMMAND_INVALID - connection.open is not expected now' class_id=10 method_id=40",
        ),
    ),
    "tune_ok_before_start_ok_ends_the_connection": Accepted(
        _DROPPED,
        (
            "-A < (closed)",
            "+A < connection.close reply_code=503 reply_text='COMMAND_INVALID - connection.tune-ok is not expected now' class_id=10 method_id=31",
        ),
    ),
    "channel_open_before_the_login_ends_the_connection": Accepted(
        _DROPPED,
        (
            "-A < (closed)",
            "+A < connection.close reply_code=505 reply_text='UNEXPECTED_FRAME - frame on channel 1 before connection.open' class_id=0 method_id=0",
        ),
    ),
    "plain_with_an_authorisation_identity_is_refused": Accepted(
        _DROPPED,
        (
            "-A < (closed)",
            "+A < connection.close reply_code=403 reply_text='ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.' class_id=0 method_id=0",
        ),
    ),
    "plain_response_without_separators_is_refused": Accepted(
        _DROPPED,
        (
            "-A < (closed)",
            "+A < connection.close reply_code=403 reply_text='ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.' class_id=0 method_id=0",
        ),
    ),
    "plain_response_that_ends_early_is_refused": Accepted(
        _DROPPED,
        (
            "-A < (closed)",
            "+A < connection.close reply_code=403 reply_text='ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.' class_id=0 method_id=0",
        ),
    ),
    "unknown_mechanism_ends_the_connection": Accepted(
        _DROPPED,
        (
            "-A < (closed)",
            "+A < connection.close reply_code=503 reply_text='COMMAND_INVALID - unknown authentication mechanism 'GUESS'' class_id=10 method_id=11",
        ),
    ),
    "names_of_mechanisms_are_in_capitals": Accepted(
        _DROPPED,
        (
            "-A < (closed)",
            "+A < connection.close reply_code=503 reply_text='COMMAND_INVALID - unknown authentication mechanism 'plain'' class_id=10 method_id=11",
        ),
    ),
    "tune_ok_above_channel_max_ends_the_connection": Accepted(
        _DROPPED,
        (
            "-A < (closed)",
            "+A < connection.close reply_code=530 reply_text='NOT_ALLOWED - negotiated channel_max = 2048 is higher than the maximum allowed value (2047)' class_id=10 method_id=31",
        ),
    ),
    "tune_ok_above_frame_max_ends_the_connection": Accepted(
        _DROPPED,
        (
            "-A < (closed)",
            "+A < connection.close reply_code=530 reply_text='NOT_ALLOWED - negotiated frame_max = 131073 is higher than the maximum allowed value (131072)' class_id=10 method_id=31",
        ),
    ),
    "tune_ok_below_4096_ends_the_connection": Accepted(
        _DROPPED,
        (
            "-A < (closed)",
            "+A < connection.close reply_code=530 reply_text='NOT_ALLOWED - negotiated frame_max = 4095 is lower than the minimum allowed value (4096)' class_id=10 method_id=31",
        ),
    ),
    "unknown_class_ends_the_connection": Accepted(
        _CRASHED,
        (
            "-A < (closed)",
            "+A < connection.close reply_code=503 reply_text='COMMAND_INVALID - unimplemented method' class_id=123 method_id=10",
        ),
    ),
    "unknown_method_of_a_known_class_ends_the_connection": Accepted(
        _CRASHED,
        (
            "-A < (closed)",
            "+A < connection.close reply_code=503 reply_text='COMMAND_INVALID - unimplemented method' class_id=60 method_id=77",
        ),
    ),
    "table_with_an_unknown_field_type_ends_the_connection": Accepted(
        _CRASHED,
        (
            "-A < (closed)",
            "+A < connection.close reply_code=502 reply_text='SYNTAX_ERROR - field table with a value of unknown type 90' class_id=50 method_id=10",
        ),
    ),
    "table_with_a_value_cut_short_ends_the_connection": Accepted(
        _CRASHED,
        (
            "-A < (closed)",
            "+A < connection.close reply_code=502 reply_text='SYNTAX_ERROR - field table ends inside a value' class_id=50 method_id=10",
        ),
    ),
    "table_with_a_string_longer_than_itself_ends_the_connection": Accepted(
        _CRASHED,
        (
            "-A < (closed)",
            "+A < connection.close reply_code=502 reply_text='SYNTAX_ERROR - field table ends inside a value' class_id=50 method_id=10",
        ),
    ),
    "table_with_a_key_longer_than_itself_ends_the_connection": Accepted(
        _CRASHED,
        (
            "-A < (closed)",
            "+A < connection.close reply_code=502 reply_text='SYNTAX_ERROR - field table ends inside an entry' class_id=50 method_id=10",
        ),
    ),
    "header_with_properties_cut_short_ends_the_connection": Accepted(
        _INTERNAL,
        (
            "-A < connection.close reply_code=541 reply_text='INTERNAL_ERROR' class_id=0 method_id=0",
            "+A < connection.close reply_code=502 reply_text='SYNTAX_ERROR - content header ends inside its properties' class_id=60 method_id=40",
        ),
    ),
    "header_with_octets_after_its_properties_ends_the_connection": Accepted(
        _INTERNAL,
        (
            "-A < connection.close reply_code=541 reply_text='INTERNAL_ERROR' class_id=0 method_id=0",
            "+A < connection.close reply_code=502 reply_text='SYNTAX_ERROR - content header with 4 bytes after its properties' class_id=60 method_id=40",
        ),
    ),
    "header_with_malformed_headers_ends_the_connection": Accepted(
        _INTERNAL,
        (
            "-A < connection.close reply_code=541 reply_text='INTERNAL_ERROR' class_id=0 method_id=0",
            "+A < connection.close reply_code=502 reply_text='SYNTAX_ERROR - field table with a value of unknown type 90' class_id=60 method_id=40",
        ),
    ),
    "header_float_that_is_no_number_ends_the_connection": Accepted(
        _NAN,
        (
            "-A < connection.close reply_code=541 reply_text='INTERNAL_ERROR' class_id=0 method_id=0",
            "+A.1 < nothing",
        ),
    ),
    "body_longer_than_announced_is_refused": Accepted(
        _OVERRUN,
        (
            "-A.1 < nothing",
            "+A < connection.close reply_code=501 reply_text='FRAME_ERROR - content body is larger than its header said' class_id=60 method_id=40",
        ),
    ),
    "body_longer_than_announced_in_its_second_frame_is_refused": Accepted(
        _OVERRUN,
        (
            "-A.1 < nothing",
            "+A < connection.close reply_code=501 reply_text='FRAME_ERROR - content body is larger than its header said' class_id=60 method_id=40",
        ),
    ),
    "tune_ok_without_a_channel_limit_ends_the_connection": Accepted(
        _UNLIMITED,
        (
            "-A < (closed)",
            "+A < connection.open-ok",
        ),
    ),
    "tune_ok_without_a_frame_limit_ends_the_connection": Accepted(
        _UNLIMITED,
        (
            "-A < (closed)",
            "+A < connection.open-ok",
        ),
    ),
    "close_before_the_login_ends_the_connection": Accepted(
        _EARLY_CLOSE,
        (
            "-A < (closed)",
            "+A < connection.close-ok",
        ),
    ),
    "close_after_the_login_but_before_open_ends_the_connection": Accepted(
        _EARLY_CLOSE,
        (
            "-A < connection.close reply_code=504 reply_text='CHANNEL_ERROR - unexpected method in connection state opening' class_id=10 method_id=50",
            "+A < connection.close-ok",
        ),
    ),
    "flow_off_is_540": Accepted(
        _FLOW,
        (
            "-A < connection.close reply_code=540 reply_text='NOT_IMPLEMENTED - active=false' class_id=20 method_id=20",
            "+A.1 < channel.flow-ok active=0",
        ),
    ),
    "recover_without_requeue_is_540": Accepted(
        _RECOVER,
        (
            "-A < connection.close reply_code=540 reply_text='NOT_IMPLEMENTED - requeue=false' class_id=60 method_id=110",
            "+A.1 < basic.recover-ok",
        ),
    ),
    "recover_async_without_requeue_is_540": Accepted(
        _RECOVER,
        (
            "-A < connection.close reply_code=540 reply_text='NOT_IMPLEMENTED - requeue=false' class_id=60 method_id=100",
            "+A.1 < nothing",
        ),
    ),
    "several_replies_come_in_order": Accepted(
        _REPLY_TAG,
        (
            "-A.1 < basic.deliver consumer_tag='replies' delivery_tag=1 redelivered=0 exchange='' routing_key='<reply-to 1>' {} 'two'",
            "-A.1 < basic.deliver consumer_tag='replies' delivery_tag=1 redelivered=0 exchange='' routing_key='<reply-to 1>' {} 'three'",
            "+A.1 < basic.deliver consumer_tag='replies' delivery_tag=2 redelivered=0 exchange='' routing_key='<reply-to 1>' {} 'two'",
            "+A.1 < basic.deliver consumer_tag='replies' delivery_tag=3 redelivered=0 exchange='' routing_key='<reply-to 1>' {} 'three'",
        ),
    ),
    "mandatory_reply_to_a_living_channel_arrives_and_is_returned": Accepted(
        _REPLY_RETURNED,
        (
            "-B.1 < basic.return reply_code=312 reply_text='NO_ROUTE' exchange='' routing_key='<reply-to 1>' {} 'answer'",
            "+B.1 < nothing",
        ),
    ),
    "reply_in_a_transaction_does_not_wait_for_the_commit": Accepted(
        _REPLY_IN_TX,
        (
            "-A.1 < basic.deliver consumer_tag='replies' delivery_tag=1 redelivered=0 exchange='' routing_key='<reply-to 1>' {} 'answer'",
            "+A.1 < nothing",
            "-A.1 < nothing",
            "+A.1 < basic.deliver consumer_tag='replies' delivery_tag=1 redelivered=0 exchange='' routing_key='<reply-to 1>' {} 'answer'",
        ),
    ),
    "global_prefetch_is_shared_by_the_consumers_of_a_channel": Accepted(
        _TURN,
        (
            "-A.1 < basic.deliver consumer_tag='one' delivery_tag=4 redelivered=0 exchange='' routing_key='q' {} '4'",
            "-A.1 < basic.deliver consumer_tag='two' delivery_tag=5 redelivered=0 exchange='' routing_key='q' {} '5'",
            "-A.1 < basic.deliver consumer_tag='one' delivery_tag=6 redelivered=0 exchange='' routing_key='q' {} '6'",
            "+A.1 < basic.deliver consumer_tag='two' delivery_tag=4 redelivered=0 exchange='' routing_key='q' {} '4'",
            "+A.1 < basic.deliver consumer_tag='one' delivery_tag=5 redelivered=0 exchange='' routing_key='q' {} '5'",
            "+A.1 < basic.deliver consumer_tag='two' delivery_tag=6 redelivered=0 exchange='' routing_key='q' {} '6'",
        ),
    ),
    "dead_letter_tells_of_its_last_death_too": Accepted(
        _LAST_DEATH,
        (
            "-A.1 < basic.get-ok delivery_tag=2 redelivered=0 exchange='' routing_key='dead' message_count=0 {headers={x-death: A[F{count: l:1, reason: S'rejected', queue: S'q', time: T:<now>, exchange: S'', routing-keys: A[S'q']}], x-first-death-exchange: S'', x-first-death-queue: S'q', x-first-death-reason: S'rejected'}} 'a'",
            "+A.1 < basic.get-ok delivery_tag=2 redelivered=0 exchange='' routing_key='dead' message_count=0 {headers={x-death: A[F{count: l:1, reason: S'rejected', queue: S'q', time: T:<now>, exchange: S'', routing-keys: A[S'q']}], x-first-death-exchange: S'', x-first-death-queue: S'q', x-first-death-reason: S'rejected', x-last-death-exchange: S'', x-last-death-queue: S'q', x-last-death-reason: S'rejected'}} 'a'",
        ),
    ),
    "headers_of_a_dead_letter_come_in_an_order": Accepted(
        _HEADERS_KEPT,
        (
            "-A.1 < basic.get-ok delivery_tag=3 redelivered=0 exchange='' routing_key='end' message_count=0 {headers={alpha: I:2, x-death: A[F{count: l:1, exchange: S'', queue: S'middle', reason: S'rejected', routing-keys: A[S'middle'], time: T:<now>}, F{count: l:1, reason: S'rejected', queue: S'q', time: T:<now>, exchange: S'', routing-keys: A[S'q']}], x-first-death-exchange: S'', x-first-death-queue: S'q', x-first-death-reason: S'rejected', zulu: I:1}} 'a'",
            "+A.1 < basic.get-ok delivery_tag=3 redelivered=0 exchange='' routing_key='end' message_count=0 {headers={zulu: I:1, alpha: I:2, x-death: A[F{count: l:1, reason: S'rejected', queue: S'middle', time: T:<now>, exchange: S'', routing-keys: A[S'middle']}, F{count: l:1, reason: S'rejected', queue: S'q', time: T:<now>, exchange: S'', routing-keys: A[S'q']}], x-first-death-exchange: S'', x-first-death-queue: S'q', x-first-death-reason: S'rejected', x-last-death-exchange: S'', x-last-death-queue: S'middle', x-last-death-reason: S'rejected'}} 'a'",
        ),
    ),
    "chain_of_ten_queues_tells_ten_deaths": Accepted(
        _DEATHS_IN_ORDER,
        (
            "-A.1 = end got exchange='' routing_key='end' {headers={x-death: A[F{count: l:1, exchange: S'', queue: S'stage 10', reason: S'expired', routing-keys: A[S'stage 10'], time: T:<now>}, F{count: l:1, exchange: S'', queue: S'stage 8', reason: S'expired', routing-keys: A[S'stage 8'], time: T:<now>}, F{count: l:1, exchange: S'', queue: S'stage 6', reason: S'expired', routing-keys: A[S'stage 6'], time: T:<now>}, F{count: l:1, exchange: S'', queue: S'stage 4', reason: S'expired', routing-keys: A[S'stage 4'], time: T:<now>}, F{count: l:1, exchange: S'', queue: S'stage 2', reason: S'expired', routing-keys: A[S'stage 2'], time: T:<now>}, F{count: l:1, exchange: S'', queue: S'stage 1', reason: S'expired', routing-keys: A[S'stage 1'], time: T:<now>}, F{count: l:1, exchange: S'', queue: S'stage 3', reason: S'expired', routing-keys: A[S'stage 3'], time: T:<now>}, F{count: l:1, exchange: S'', queue: S'stage 5', reason: S'expired', routing-keys: A[S'stage 5'], time: T:<now>}, F{count: l:1, exchange: S'', queue: S'stage 7', reason: S'expired', routing-keys: A[S'stage 7'], time: T:<now>}, F{count: l:1, exchange: S'', queue: S'stage 9', reason: S'expired', routing-keys: A[S'stage 9'], time: T:<now>}], x-first-death-exchange: S'', x-first-death-queue: S'stage 1', x-first-death-reason: S'expired'}} 'a'",
            "+A.1 = end got exchange='' routing_key='end' {headers={x-death: A[F{count: l:1, exchange: S'', queue: S'stage 10', reason: S'expired', routing-keys: A[S'stage 10'], time: T:<now>}, F{count: l:1, exchange: S'', queue: S'stage 9', reason: S'expired', routing-keys: A[S'stage 9'], time: T:<now>}, F{count: l:1, exchange: S'', queue: S'stage 8', reason: S'expired', routing-keys: A[S'stage 8'], time: T:<now>}, F{count: l:1, exchange: S'', queue: S'stage 7', reason: S'expired', routing-keys: A[S'stage 7'], time: T:<now>}, F{count: l:1, exchange: S'', queue: S'stage 6', reason: S'expired', routing-keys: A[S'stage 6'], time: T:<now>}, F{count: l:1, exchange: S'', queue: S'stage 5', reason: S'expired', routing-keys: A[S'stage 5'], time: T:<now>}, F{count: l:1, exchange: S'', queue: S'stage 4', reason: S'expired', routing-keys: A[S'stage 4'], time: T:<now>}, F{count: l:1, exchange: S'', queue: S'stage 3', reason: S'expired', routing-keys: A[S'stage 3'], time: T:<now>}, F{count: l:1, exchange: S'', queue: S'stage 2', reason: S'expired', routing-keys: A[S'stage 2'], time: T:<now>}, F{count: l:1, exchange: S'', queue: S'stage 1', reason: S'expired', routing-keys: A[S'stage 1'], time: T:<now>}], x-first-death-exchange: S'', x-first-death-queue: S'stage 1', x-first-death-reason: S'expired'}} 'a'",
        ),
    ),
    "x_death_of_a_client_takes_part_in_cycles": Accepted(
        _DEATHS_OF_THIS_PUBLISH,
        (
            "-A.1 = dead got exchange='' routing_key='dead' {headers={x-death: A[F{count: l:1, exchange: S'', original-expiration: S'0', queue: S'q', reason: S'expired', routing-keys: A[S'q'], time: T:<now>}], x-first-death-exchange: S'', x-first-death-queue: S'q', x-first-death-reason: S'expired'}} 'b'",
            "-A.1 = dead held: nothing",
            "+A.1 = dead got exchange='' routing_key='dead' {headers={x-death: A[F{count: l:1, exchange: S'', original-expiration: S'0', queue: S'q', reason: S'expired', routing-keys: A[S'q'], time: T:<now>}, F{count: l:1, queue: S'dead', reason: S'expired'}]}} 'a'",
            "+A.1 = dead held: 'b'",
        ),
    ),
    "dead_letter_that_was_refused_arrives_when_there_is_room": Accepted(
        _NOT_LOST,
        (
            "-A.1 = dead has 0 ready",
            "+A.1 = dead has 1 ready",
        ),
    ),
    "message_that_one_queue_refuses_is_kept_by_none": Accepted(
        _KEPT_BY_NONE,
        (
            "-A.1 = other held: 'a'",
            "+A.1 = other held: nothing",
        ),
    ),
    "refused_message_of_a_transaction": Accepted(
        _TX_ATOMIC,
        (
            "-A.1 = q held: 'a'",
            "+A.1 = q held: nothing",
        ),
    ),
    "new_ttl_applies_to_what_is_in_the_queue": Accepted(
        _TTL_LIVE,
        (
            "-A.1 = q has 2 ready",
            "-A.1 = q held: 'a' 'b'",
            "+A.1 = q has 0 ready",
            "+A.1 = q held: nothing",
        ),
    ),
    "full_queue_of_several_levels_drops_by_level": Accepted(
        _LOWEST_FIRST,
        (
            "-A.1 = q held: '5 c' '1 a'",
            "+A.1 = q held: '9 b' '5 c'",
        ),
    ),
    "classic_queue_and_a_leader_locator": Accepted(
        _ARGUMENTS_OF_NEWER_QUEUES,
        (
            "-A.1 < channel.close reply_code=406 reply_text='PRECONDITION_FAILED - invalid arg 'x-queue-leader-locator' for queue 'q' in vhost '/' of queue type rabbit_classic_queue' class_id=50 method_id=10",
            "+A.1 < queue.declare-ok queue='q' message_count=0 consumer_count=0",
        ),
    ),
    "classic_queue_and_a_delivery_limit": Accepted(
        _ARGUMENTS_OF_NEWER_QUEUES,
        (
            "-A.1 < channel.close reply_code=406 reply_text='PRECONDITION_FAILED - invalid arg 'x-delivery-limit' for queue 'q' in vhost '/' of queue type rabbit_classic_queue' class_id=50 method_id=10",
            "+A.1 < queue.declare-ok queue='q' message_count=0 consumer_count=0",
        ),
    ),
    "get_from_a_queue_with_a_single_active_consumer_is_405": Accepted(
        _NO_GET,
        (
            "-A.1 < basic.get-ok delivery_tag=1 redelivered=0 exchange='' routing_key='q' message_count=0 {} 'a'",
            "+A.1 < channel.close reply_code=405 reply_text='RESOURCE_LOCKED - cannot obtain access to queue 'q' in vhost '/'. basic.get operation not supported by queues with single active consumer' class_id=60 method_id=70",
        ),
    ),
    "get_is_405_with_a_consumer_too": Accepted(
        _NO_GET,
        (
            "-A.1 < basic.get-empty",
            "+A.1 < channel.close reply_code=405 reply_text='RESOURCE_LOCKED - cannot obtain access to queue 'q' in vhost '/'. basic.get operation not supported by queues with single active consumer' class_id=60 method_id=70",
        ),
    ),
    "message_expires_wherever_it_stands_in_the_queue": Accepted(
        _ON_TIME,
        (
            "-A.1 = q has 2 ready",
            "+A.1 = q has 1 ready",
        ),
    ),
}
