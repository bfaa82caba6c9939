from __future__ import annotations

import pytest

from amqpd.store.topology import (
    BINDINGS,
    KEYS,
    QUEUES,
    BindingRow,
    ExchangeRow,
    QueueRow,
    Topology,
    TopologyChange,
    TopologyStore,
    VhostRow,
    delete,
    put,
)


def test_rows_hold_the_key_of_their_table() -> None:
    rows = {
        "vhosts": VhostRow("/").row(),
        "exchanges": ExchangeRow("/", "e", "topic", False, False, b"").row(),
        QUEUES: QueueRow(1, "/", "q", False, b"").row(),
        BINDINGS: BindingRow("/", "e", "q", False, "k", b"").row(),
    }
    for table, row in rows.items():
        assert put(table, row).row == row
        assert tuple(delete(table, row).row) == KEYS[table]


def test_change_without_its_key_is_our_bug() -> None:
    with pytest.raises(AssertionError):
        TopologyChange(QUEUES, {"name": "q"}, False)


def test_routing_key_of_any_bytes_is_kept_as_bytes() -> None:
    key = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert BindingRow("/", "e", "q", False, key, b"").row()["routing_key"] == b"caf\xe9"


def test_queue_ids_are_listed_for_recovery() -> None:
    topology = Topology()
    topology.queues = [QueueRow(3, "/", "a", False, b""), QueueRow(9, "/", "b", False, b"")]
    assert topology.queue_ids() == [3, 9]


def test_port_itself_keeps_nothing() -> None:
    with pytest.raises(NotImplementedError):
        TopologyStore().load()
