from __future__ import annotations

import pytest

from amqpd.base.errors import AccessRefused, AmqpError, PreconditionFailed, ResourceLocked
from amqpd.queues.arguments import QueueOptions
from amqpd.queues.queue import Queue
from amqpd.vhosts.declare import (
    check_deletable_exchange,
    check_new_exchange_name,
    check_new_queue_name,
    check_properties_of_type,
    check_queue_owner,
    check_same_queue,
)
from amqpd.wire.field_table import FieldTable, encode_table
from tests.fakes.core import new_agenda


def queue(
    arguments: dict[str, object] | None = None, durable: bool = False, auto_delete: bool = False, owner: int = 0
) -> Queue:
    return Queue(1, "/", "q", durable, auto_delete, owner, encode_table(arguments or {}), QueueOptions(), new_agenda())


def refusal(
    current: Queue,
    arguments: FieldTable | dict[str, object],
    durable: bool = False,
    exclusive: bool = False,
    auto_delete: bool = False,
    connection: int = 7,
) -> str:
    table = arguments if isinstance(arguments, FieldTable) else encode_table(arguments)
    try:
        check_same_queue(current, "/", durable, exclusive, auto_delete, connection, table)
    except AmqpError as error:
        return error.reply_text
    return ""


def test_the_same_declare_is_fine() -> None:
    assert refusal(queue({"x-expires": 5}, True, True), {"x-expires": 5}, True, auto_delete=True) == ""


def test_a_difference_in_a_flag_is_named_with_both_values() -> None:
    assert refusal(queue(), {}, durable=True) == (
        "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': "
        "received 'true' but current is 'false'"
    )
    assert refusal(queue(auto_delete=True), {}) == (
        "PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue 'q' in vhost '/': "
        "received 'false' but current is 'true'"
    )


@pytest.mark.parametrize(
    ("owner", "exclusive", "is_fine"),
    [(0, False, True), (7, True, True), (0, True, False), (7, False, False), (8, True, False), (8, False, False)],
)
def test_exclusiveness_that_differs_is_a_locked_resource(owner: int, exclusive: bool, is_fine: bool) -> None:
    text = refusal(queue(owner=owner), {}, exclusive=exclusive)
    assert (text == "") is is_fine
    assert is_fine or text.startswith(
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'."
    )


def test_another_owner_is_named_before_any_other_difference() -> None:
    assert refusal(queue({"x-expires": 5}, owner=8), {}, durable=True).startswith("RESOURCE_LOCKED")


def test_only_the_owner_may_touch_an_exclusive_queue() -> None:
    check_queue_owner(queue(), 3, "/")
    check_queue_owner(queue(owner=3), 3, "/")
    with pytest.raises(ResourceLocked):
        check_queue_owner(queue(owner=3), 4, "/")


@pytest.mark.parametrize(
    ("current", "received"),
    [
        ({"x-expires": 5}, {}),
        ({}, {"x-expires": 5}),
        ({"x-expires": 5}, {"x-expires": 6}),
        ({"x-overflow": "drop-head"}, {"x-overflow": "reject-publish"}),
        ({"x-single-active-consumer": True}, {"x-single-active-consumer": False}),
        ({"x-queue-type": "quorum"}, {}),
    ],
)
def test_a_known_argument_must_be_the_same(current: dict[str, object], received: dict[str, object]) -> None:
    key = next(iter({**current, **received}))
    assert refusal(queue(current), received).startswith(
        f"PRECONDITION_FAILED - inequivalent arg '{key}' for queue 'q' in vhost '/': received "
    )


def test_numbers_are_the_same_by_value_whatever_their_type() -> None:
    assert refusal(queue({"x-expires": 5}), FieldTable(b"\x09x-expiress\x00\x05")) == ""
    assert refusal(queue({"x-expires": 5}), FieldTable(b"\x09x-expiresl" + bytes(7) + b"\x05")) == ""


def test_unknown_arguments_are_not_compared() -> None:
    assert refusal(queue({"x-mine": 1, "other": "a"}), {"x-mine": 2}) == ""


def test_an_absent_queue_type_is_classic() -> None:
    assert refusal(queue({"x-queue-type": "classic"}), {}) == ""
    assert refusal(queue(), {"x-queue-type": "classic"}) == ""
    assert refusal(queue(), {"x-queue-type": "quorum"}).endswith(
        "received the value 'quorum' of type 'longstr' but current is none"
    )
    assert refusal(queue(), {"x-queue-type": None}) != ""


@pytest.mark.parametrize(
    ("durable", "exclusive", "auto_delete", "is_server_named", "fault"),
    [
        (True, False, False, True, "Cannot declare a server-named queue for type rabbit_quorum_queue"),
        (False, True, True, False, "invalid property 'auto-delete' for queue 'q' in vhost '/'"),
        (False, True, False, False, "invalid property 'exclusive-owner' for queue 'q' in vhost '/'"),
        (False, False, False, False, "invalid property 'non-durable' for queue 'q' in vhost '/'"),
    ],
)
def test_a_quorum_queue_is_there_to_stay(
    durable: bool, exclusive: bool, auto_delete: bool, is_server_named: bool, fault: str
) -> None:
    where = "queue 'q' in vhost '/'"
    with pytest.raises(PreconditionFailed) as caught:
        check_properties_of_type("quorum", where, durable, exclusive, auto_delete, is_server_named)
    assert caught.value.explanation == fault
    check_properties_of_type("classic", where, durable, exclusive, auto_delete, is_server_named)
    check_properties_of_type("quorum", where, True, False, False, False)


def test_what_begins_with_amq_is_ours() -> None:
    check_new_queue_name("amq")
    check_new_exchange_name("AMQ.x")
    with pytest.raises(AccessRefused, match="reserved prefix"):
        check_new_queue_name("amq.q")
    with pytest.raises(AccessRefused, match="reserved prefix"):
        check_new_exchange_name("amq.x")
    check_deletable_exchange("amq", "/")
    with pytest.raises(AccessRefused, match="deletion of system exchange"):
        check_deletable_exchange("amq.x", "/")


def test_the_difference_is_a_precondition() -> None:
    with pytest.raises(PreconditionFailed):
        check_same_queue(queue(durable=True), "/", False, False, False, 1, encode_table({}))
