from __future__ import annotations

import pytest

from amqpd.base.errors import NotFound, PreconditionFailed
from amqpd.base.limits import DEFAULTS
from amqpd.exchanges.exchange import Binding
from amqpd.vhosts.changes import Changes
from amqpd.vhosts.rehearsal import rehearsal_of
from amqpd.vhosts.vhost import VHost
from amqpd.wire.field_table import EMPTY_TABLE, encode_table
from tests.fakes.core import new_agenda


def vhost() -> VHost:
    made = VHost("/", DEFAULTS, new_agenda(), Changes(1))
    made.declare_exchange("x", "direct", True, False, False, EMPTY_TABLE)
    made.declare_queue("q", True, False, False, 0, encode_table({"x-expires": 1000}), False)
    made.bind(Binding("x", "q", False, "k", EMPTY_TABLE))
    made.changes.take(1)
    return made


def test_a_copy_knows_what_is_there_and_refuses_what_the_vhost_would_refuse() -> None:
    copy = rehearsal_of(vhost(), DEFAULTS)
    with pytest.raises(PreconditionFailed, match="inequivalent arg 'type'"):
        copy.declare_exchange("x", "fanout", True, False, False, EMPTY_TABLE)
    with pytest.raises(PreconditionFailed, match="inequivalent arg 'x-expires'"):
        copy.declare_queue("q", True, False, False, 0, EMPTY_TABLE, False)
    with pytest.raises(NotFound):
        copy.bind(Binding("x", "gone", False, "k", EMPTY_TABLE))
    assert copy.binding_count == 1


def test_what_is_done_in_a_copy_is_not_seen_in_the_vhost() -> None:
    real = vhost()
    copy = rehearsal_of(real, DEFAULTS)
    copy.declare_queue("new", True, False, False, 0, encode_table({"x-mine": 1}), False)
    delayed = encode_table({"x-delayed-type": "direct"})
    copy.declare_exchange("later", "x-delayed-message", True, False, False, delayed)
    copy.bind(Binding("x", "new", False, "k", EMPTY_TABLE))
    assert (list(real.queues), "later" in real.exchanges, real.delays.queues()) == (["q"], False, [])
    assert len(real.exchanges["x"].bindings) == real.binding_count == 1
    assert not real.changes.pending
