from __future__ import annotations

from amqpd.base.limits import DEFAULTS
from amqpd.exchanges.exchange import Binding
from amqpd.store.recovered import RecoveredId
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.deduplication import is_overtaken, note_all, unseen
from amqpd.vhosts.routing import Route, find_route
from amqpd.vhosts.vhost import VHost
from amqpd.wire.field_table import EMPTY_TABLE, FieldTable, encode_table
from amqpd.wire.properties import Properties, encode_header
from tests.fakes.core import new_agenda

PERSISTENT = encode_header(1, Properties(delivery_mode=2))


class Place:
    """Queue `windowed` and queue `plain`, both bound to amq.fanout and to the exchange `once`."""

    def __init__(self, durable: bool = True) -> None:
        self.agenda = new_agenda()
        self.changes = Changes(1)
        self.vhost = VHost("/", DEFAULTS, self.agenda, self.changes)
        window = encode_table({"x-dedup-window-ms": 1000})
        self.vhost.declare_queue("windowed", durable, False, False, 7, window, False)
        self.vhost.declare_queue("plain", durable, False, False, 7, EMPTY_TABLE, False)
        self.arguments = encode_table({"x-cache-size": 10})
        self.vhost.declare_exchange("once", "x-message-deduplication", durable, False, False, self.arguments)
        for exchange in ("amq.fanout", "once"):
            for queue in ("windowed", "plain"):
                self.vhost.bind(Binding(exchange, queue, False, "", EMPTY_TABLE))

    def route(self, exchange: str, table: FieldTable | None, is_first_time: bool = True) -> Route:
        return find_route(self.vhost, exchange, ["k"], table, PERSISTENT, is_first_time)

    def records(self) -> int:
        batch = self.agenda.log.seal([])
        return 0 if batch is None else int(batch.record_count)


def names(route: Route) -> list[str]:
    return [queue.name for queue in route.queues]


BY_QUEUE = encode_table({"x-dedup-id": "a"})
BY_EXCHANGE = encode_table({"x-deduplication-header": "a"})


def test_a_route_says_whether_anybody_on_the_way_remembers() -> None:
    place = Place()
    assert place.route("amq.fanout", None).deduplicates
    assert place.route("amq.fanout", None).by_key_only
    assert not place.route("", None).deduplicates
    assert not find_route(place.vhost, "", ["plain"], BY_QUEUE).deduplicates


def test_a_queue_is_left_out_once_its_note_is_taken() -> None:
    place = Place()
    route = place.route("amq.fanout", BY_QUEUE)
    fresh = unseen(route, BY_QUEUE)
    assert (names(fresh), fresh.is_duplicate) == (["windowed", "plain"], False)
    assert route.notes == []
    assert names(unseen(route, BY_QUEUE)) == ["windowed", "plain"]
    note_all(fresh, PERSISTENT)
    assert place.records() == 1
    again = unseen(route, BY_QUEUE)
    assert (names(again), again.is_duplicate) == (["plain"], True)
    assert again.stored_ids == (2).to_bytes(4, "little")
    assert unseen(route, None) is route


def test_an_exchange_leads_nowhere_once_its_note_is_taken() -> None:
    place = Place()
    first, second = place.route("once", BY_EXCHANGE), place.route("once", BY_EXCHANGE)
    assert not is_overtaken(second)
    note_all(first, PERSISTENT)
    assert is_overtaken(second)
    again = place.route("once", BY_EXCHANGE)
    assert (names(again), again.is_duplicate) == ([], True)
    # Dead letters are not asked for an id, nor do they leave one.
    letter = place.route("once", BY_EXCHANGE, False)
    assert (names(letter), letter.is_duplicate, letter.notes) == (["windowed", "plain"], False, [])


def test_only_a_stored_message_leaves_a_stored_id() -> None:
    for durable, header, records in (
        (True, PERSISTENT, 1),
        (True, encode_header(1, Properties(delivery_mode=1)), 0),
        (False, PERSISTENT, 0),
    ):
        place = Place(durable)
        note_all(place.route("once", BY_EXCHANGE), header)
        assert place.records() == records
        assert place.route("once", BY_EXCHANGE).is_duplicate


def test_a_durable_exchange_has_a_row_for_its_number_as_long_as_it_lives() -> None:
    place = Place()
    window = place.vhost.deduplications.of("once")
    assert window is not None and window.owner_id == 3
    rows = [change.row for change in place.changes.take(1) if change.table == "queues"]
    assert [row["name"] for row in rows] == ["windowed", "plain", "amq.dedup.once"]
    assert [row["kind"] for row in rows] == ["queue", "queue", "dedup"]
    place.vhost.delete_exchange("once", False)
    assert [change.row for change in place.changes.take(1) if change.table == "queues"] == [{"queue_id": 3}]
    assert place.vhost.deduplications.of("once") is None
    assert window.is_closed
    place.vhost.declare_exchange("once", "x-message-deduplication", True, False, False, place.arguments)
    again = place.vhost.deduplications.of("once")
    assert again is not None and again.owner_id == 4


def test_a_window_is_restored_only_for_an_exchange_that_wants_one() -> None:
    place = Place()
    deduplications = place.vhost.deduplications
    note = deduplications.note_for(place.vhost.exchanges["once"], BY_EXCHANGE)
    assert note is not None and not note.is_known
    deduplications.restore("amq.dedup.once", 9, [RecoveredId(note.dedup_id, 0, -1)])
    assert place.route("once", BY_EXCHANGE).is_duplicate
    deduplications.restore("amq.dedup.gone", 10, [])
    deduplications.restore("amq.dedup.amq.fanout", 11, [])
    assert deduplications.of("gone") is None and deduplications.of("amq.fanout") is None
