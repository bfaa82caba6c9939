from __future__ import annotations

import pytest

from amqpd.base.limits import DEFAULTS
from amqpd.base.message import Message
from amqpd.exchanges.exchange import Binding
from amqpd.queues.agenda import Agenda
from amqpd.queues.delay import DELAY_MS_MAX
from amqpd.queues.entry import Entry
from amqpd.store.topology import TopologyChange
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.delays import Delayed
from amqpd.vhosts.routing import find_route, join_route_key
from amqpd.vhosts.vhost import VHost
from amqpd.wire.field_table import EMPTY_TABLE, FieldTable, encode_table
from amqpd.wire.properties import Properties, encode_header, headers
from tests.fakes.core import new_agenda


class Place:
    """A vhost with the delayed exchange `x` of type direct, bound to queue `q` by the key `k`."""

    def __init__(self, durable: bool = True) -> None:
        self.agenda: Agenda = new_agenda()
        self.agenda.wall_ms = 1_000_000
        self.vhost = VHost("/", DEFAULTS, self.agenda, Changes(1))
        self.vhost.declare_queue("q", durable, False, False, 7, EMPTY_TABLE, False)
        self.declare("x", durable)
        self.bind("x", "q", "k")

    def declare(self, name: str, durable: bool = True) -> None:
        arguments = encode_table({"x-delayed-type": "direct"})
        self.vhost.declare_exchange(name, "x-delayed-message", durable, False, False, arguments)

    def bind(self, exchange: str, queue: str, key: str) -> None:
        self.vhost.bind(Binding(exchange, queue, False, key, EMPTY_TABLE))

    @property
    def delayed(self) -> Delayed:
        delayed = self.vhost.delays.of("x")
        assert delayed is not None
        return delayed

    def publish(
        self, key: str, body: bytes, delay: object = None, exchange: str = "x", persistent: bool = True, **more: object
    ) -> int:
        """As a channel does it."""
        table = encode_table(({} if delay is None else {"x-delay": delay}) | more)
        header = encode_header(len(body), Properties(headers=table, delivery_mode=2 if persistent else 1))
        route = find_route(self.vhost, exchange, [key], table, header)
        log = self.agenda.log
        message = Message(log.next_message_id(), join_route_key(exchange, key), header, body)
        if persistent and route.stored_ids:
            log.append_message(message, route.stored_ids, self.agenda.wall_ms)
        for queue in route.queues:
            queue.publish(message)
        return int(message.message_id)

    def advance(self, ms: int) -> None:
        agenda = self.agenda
        agenda.monotonic_ms += ms
        agenda.wall_ms += ms
        agenda.wheel.advance(agenda.monotonic_ms)
        departing, agenda.departing = agenda.departing, []
        for queue in departing:
            queue.is_departing = False
            while queue.departing.count > 0:
                departure = queue.departing.take()
                full = self.vhost.delays.release(departure.entry)
                if full is not None:
                    queue.hold_back(departure, full)

    def ready(self, queue: str = "q") -> list[Entry]:
        return self.vhost.queues[queue].ready.entries()

    def bodies(self, queue: str = "q") -> list[bytes]:
        return [entry.message.body for entry in self.ready(queue)]

    def told(self) -> list[TopologyChange]:
        return self.vhost.changes.take(1)


def table_of(entry: Entry) -> FieldTable:
    table = headers(entry.message.header)
    assert table is not None
    return table


@pytest.fixture
def place() -> Place:
    return Place()


def test_a_message_waits_and_is_then_routed(place: Place) -> None:
    place.publish("k", b"later", 5000)
    assert (place.bodies(), place.delayed.count) == ([], 1)
    place.advance(4990)
    assert place.bodies() == []
    place.advance(10)
    assert (place.bodies(), place.delayed.count) == ([b"later"], 0)
    assert table_of(place.ready()[0]).get("x-delay") == -5000
    assert place.ready()[0].message.route_key == join_route_key("x", "k")


@pytest.mark.parametrize("delay", [None, 0, -1, "soon"])
def test_without_a_delay_it_is_routed_at_once(place: Place, delay: object) -> None:
    place.publish("k", b"now", delay)
    assert (place.bodies(), place.delayed.count) == ([b"now"], 0)


def test_each_comes_when_it_is_due_whatever_stands_before_it(place: Place) -> None:
    for delay in (60_000, 100, 3000, 200, 100):
        place.publish("k", str(delay).encode(), delay)
    place.advance(250)
    assert place.bodies() == [b"100", b"100", b"200"]
    place.advance(60_000)
    assert place.bodies() == [b"100", b"100", b"200", b"3000", b"60000"]


def test_bindings_of_the_time_when_it_is_due_count(place: Place) -> None:
    place.publish("other", b"m", 1000)
    place.vhost.declare_queue("r", False, False, False, 7, EMPTY_TABLE, False)
    place.bind("x", "r", "other")
    place.advance(1000)
    assert (place.bodies("q"), place.bodies("r")) == ([], [b"m"])


def test_what_has_no_binding_when_it_is_due_is_dropped_and_counted(place: Place) -> None:
    place.publish("nobody", b"m", 1000)
    place.advance(1000)
    assert (place.bodies(), place.delayed.count) == ([], 0)
    assert place.vhost.delays.unroutable_count == 1
    assert place.agenda.log.live_bytes == 0


def test_one_copy_waits_for_all_routing_keys(place: Place) -> None:
    place.vhost.declare_queue("r", True, False, False, 7, EMPTY_TABLE, False)
    place.vhost.declare_queue("s", True, False, False, 7, EMPTY_TABLE, False)
    place.bind("x", "r", "copy")
    place.bind("x", "s", "blind")
    place.publish("k", b"m", 1000, CC=["copy"], BCC=["blind"])
    assert place.delayed.count == 1
    place.advance(1000)
    assert [place.bodies(queue) for queue in "qrs"] == [[b"m"], [b"m"], [b"m"]]
    assert place.ready("q")[0].message is place.ready("s")[0].message
    assert not table_of(place.ready("q")[0]).has("BCC")
    assert table_of(place.ready("q")[0]).has("CC")


def test_a_message_waits_once_even_if_delayed_exchanges_are_chained(place: Place) -> None:
    place.declare("y")
    place.vhost.bind(Binding("x", "y", True, "k", EMPTY_TABLE))
    place.bind("y", "q", "k")
    place.vhost.unbind(Binding("x", "q", False, "k", EMPTY_TABLE))
    place.publish("k", b"m", 1000)
    place.advance(1000)
    assert place.bodies() == [b"m"]


def test_a_fanout_in_front_delivers_at_once_where_nothing_delays(place: Place) -> None:
    place.vhost.declare_queue("r", True, False, False, 7, EMPTY_TABLE, False)
    place.vhost.bind(Binding("amq.fanout", "x", True, "", EMPTY_TABLE))
    place.bind("amq.fanout", "r", "")
    place.publish("k", b"m", 1000, exchange="amq.fanout")
    assert (place.bodies("r"), place.bodies("q")) == ([b"m"], [])
    place.advance(1000)
    assert (place.bodies("r"), place.bodies("q")) == ([b"m"], [b"m"])


def test_time_to_live_begins_when_the_delay_is_over(place: Place) -> None:
    place.vhost.declare_queue("short", True, False, False, 7, encode_table({"x-message-ttl": 500}), False)
    place.bind("x", "short", "s")
    place.publish("s", b"m", 1000)
    place.advance(1000)
    assert place.bodies("short") == [b"m"]
    place.advance(500)
    assert place.bodies("short") == []


def test_a_target_that_refuses_leaves_it_waiting_and_it_is_tried_again(place: Place) -> None:
    full = encode_table({"x-max-length": 1, "x-overflow": "reject-publish"})
    place.vhost.declare_queue("full", True, False, False, 7, full, False)
    place.bind("x", "full", "k")
    place.publish("k", b"first")
    place.publish("k", b"second", 1000)
    place.advance(1000)
    assert (place.bodies("q"), place.bodies("full")) == ([b"first"], [b"first"])
    place.vhost.queues["full"].purge()
    place.advance(1000)
    assert (place.bodies("q"), place.bodies("full")) == ([b"first", b"second"], [b"second"])


def test_persistent_messages_are_logged_once_while_they_wait_and_once_anew(place: Place) -> None:
    log = place.agenda.log
    place.publish("k", b"kept", 1000)
    place.publish("k", b"lost", 1000, persistent=False)
    entries = place.delayed.queue.ready.entries()
    assert [entry.message.segment is None for entry in entries] == [False, True]
    place.advance(1000)
    assert [entry.message.segment is None for entry in place.ready()] == [False, True]
    assert entries[0].message.holders == 0
    assert log.live_bytes == place.ready()[0].message.logged_bytes


def test_a_delayed_message_can_be_listed_cancelled_and_put_off(place: Place) -> None:
    ids = [place.publish("k", str(number).encode(), 1000 * number) for number in range(1, 6)]
    page = place.delayed.page(1, 3)
    assert [each.message_id for each in page] == ids[1:4]
    assert [each.due_wall_ms for each in page] == [1_002_000, 1_003_000, 1_004_000]
    assert (page[0].exchange, page[0].routing_key, page[0].size_bytes) == ("x", "k", 1)

    assert place.delayed.cancel(ids[1])
    assert not place.delayed.cancel(ids[1])
    assert not place.delayed.cancel(999)
    assert place.delayed.count == 4

    put_off = place.delayed.reschedule(ids[0], 10_000)
    sooner = place.delayed.reschedule(ids[4], 10)
    assert place.delayed.reschedule(ids[0], 1) == 0
    assert [each.message_id for each in place.delayed.page(0, 9)] == [ids[2], ids[3], put_off, sooner]
    place.advance(10)
    assert place.bodies() == [b"5"]
    place.advance(9980)
    assert place.bodies() == [b"5", b"3", b"4"]
    place.advance(10)
    assert place.bodies() == [b"5", b"3", b"4", b"1"]
    assert table_of(place.ready()[3]).get("x-delay") == -10_000
    assert place.delayed.page(0, 9) == []


def test_put_off_to_now_it_is_routed_in_this_turn_and_never_beyond_the_bound(place: Place) -> None:
    first, second = place.publish("k", b"1", 1000), place.publish("k", b"2", 1000)
    assert place.delayed.reschedule(first, -5) > second
    assert place.delayed.reschedule(second, DELAY_MS_MAX * 2) > 0
    place.advance(0)
    assert place.bodies() == [b"1"]
    assert place.delayed.page(0, 1)[0].due_wall_ms == 1_000_000 + DELAY_MS_MAX


def test_what_is_cancelled_needs_no_space_in_the_log(place: Place) -> None:
    place.delayed.cancel(place.publish("k", b"m", 1000))
    assert place.agenda.log.live_bytes == 0
    place.delayed.cancel(place.delayed.reschedule(place.publish("k", b"m", 1000), 7))
    assert place.agenda.log.live_bytes == 0


def test_the_hidden_queue_lives_and_dies_with_its_exchange() -> None:
    place = Place()
    puts = [change for change in place.told() if change.table == "queues"]
    assert [(change.row["name"], change.is_delete) for change in puts] == [("q", False), ("amq.delayed.x", False)]
    place.publish("k", b"m", 1000)
    place.vhost.delete_exchange("x", False)
    deleted = [change.row for change in place.told() if change.table == "queues" and change.is_delete]
    assert deleted == [{"queue_id": puts[1].row["queue_id"]}]
    assert place.vhost.delays.of("x") is None
    assert place.agenda.log.live_bytes == 0
    place.advance(1000)
    assert place.bodies() == []


def test_nobody_finds_the_hidden_queue_by_name(place: Place) -> None:
    place.publish("k", b"m", 1000)
    assert "amq.delayed.x" not in place.vhost.queues
    assert place.vhost.find_queue_or_reply("amq.delayed.x") is None
    assert [queue.name for queue in place.vhost.all_queues()] == ["q", "amq.delayed.x"]


def test_a_transient_exchange_stores_nothing() -> None:
    place = Place(durable=False)
    assert place.told() == []
    place.publish("k", b"m", 1000)
    assert place.agenda.log.live_bytes == 0
    place.advance(1000)
    assert place.bodies() == [b"m"]


def test_any_exchange_can_be_made_to_delay_and_to_cease(place: Place) -> None:
    """What a policy does."""
    exchange = place.vhost.find_exchange("amq.direct")
    place.bind("amq.direct", "q", "k")
    assert find_route(place.vhost, "amq.direct", ["k"], None).by_key_only
    place.vhost.delays.begin(exchange)
    place.vhost.delays.begin(exchange)
    assert not find_route(place.vhost, "amq.direct", ["k"], None).by_key_only
    place.publish("k", b"later", 1000, exchange="amq.direct")
    place.vhost.delays.end(exchange)
    place.vhost.delays.end(place.vhost.find_exchange("x"))
    assert place.vhost.find_exchange("x").delays
    place.publish("k", b"now", 1000, exchange="amq.direct")
    assert place.bodies() == [b"now"]
    place.advance(1000)
    assert place.bodies() == [b"now", b"later"]
