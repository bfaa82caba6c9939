"""The whole product of states and methods: what is not in the table is 503, or 504 once open."""

from __future__ import annotations

import itertools

import pytest
from pamqp import commands

from amqpd.base.errors import ChannelFault, CommandInvalid, NotAllowed
from amqpd.base.limits import DEFAULTS
from amqpd.connections.handshake import (
    CAPABILITIES,
    CLOSED,
    CLOSING,
    CONNECTION_CLOSE,
    CONNECTION_CLOSE_OK,
    CONNECTION_OPEN,
    HEADER,
    NEXT,
    OPEN,
    REFUSED,
    START_OK,
    START_SENT,
    TUNE_OK,
    TUNE_SENT,
    TUNED,
    UPDATE_SECRET,
    agreed,
    next_state,
    start_method,
    tune_method,
)
from amqpd.wire.field_table import FieldTable
from amqpd.wire.methods import decode_method, encode_method, method_name, table_of

STATES = (HEADER, START_SENT, TUNE_SENT, TUNED, OPEN, REFUSED, CLOSING, CLOSED)
INDICES = (*sorted(commands.INDEX_MAPPING), 0, 0x000A0063, 0xFFFFFFFF)


@pytest.mark.parametrize(("state", "index"), list(itertools.product(STATES, INDICES)))
def test_a_method_leads_on_or_is_refused_by_name(state: int, index: int) -> None:
    after = NEXT.get((state, index))
    if after is None and state == OPEN:
        with pytest.raises(ChannelFault):
            next_state(state, index)
    elif after is None:
        with pytest.raises(CommandInvalid) as caught:
            next_state(state, index)
        assert caught.value.reply_text == f"COMMAND_INVALID - {method_name(index)} is not expected now"
    else:
        assert next_state(state, index) == after


def test_a_state_never_goes_back() -> None:
    assert all(after >= before for (before, _), after in NEXT.items())


def test_login_is_one_way_and_close_ends_it_anywhere() -> None:
    state = START_SENT
    for index, after in ((START_OK, TUNE_SENT), (TUNE_OK, TUNED), (CONNECTION_OPEN, OPEN), (UPDATE_SECRET, OPEN)):
        assert next_state(state, CONNECTION_CLOSE) == CLOSED
        state = next_state(state, index)
        assert state == after
    assert next_state(CLOSING, CONNECTION_CLOSE_OK) == CLOSED
    assert not [index for state, index in NEXT if state in (HEADER, REFUSED, CLOSED)]


def test_start_says_what_clients_look_at() -> None:
    start = decode_method(encode_method(start_method(DEFAULTS, "1.2.3")))
    properties = table_of(start, "server_properties")
    capabilities = properties.get("capabilities")
    assert isinstance(capabilities, FieldTable)
    assert capabilities.to_dict() == dict.fromkeys(CAPABILITIES, True)
    assert (properties.get("product"), properties.get("version")) == (DEFAULTS.product, DEFAULTS.version)
    assert properties.get("cluster_name") == DEFAULTS.cluster_name
    assert (start.version_major, start.version_minor, start.mechanisms, start.locales) == (  # type: ignore[attr-defined]
        0,
        9,
        "PLAIN AMQPLAIN",
        "en_US",
    )


def test_tune_offers_the_limits() -> None:
    tune = tune_method(DEFAULTS)
    assert (tune.channel_max, tune.frame_max, tune.heartbeat) == (2047, 131072, 60)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("wanted", "result"), [(0, 100), (100, 100), (10, 10), (99, 99)])
def test_zero_takes_the_offer_and_anything_in_range_is_taken(wanted: int, result: int) -> None:
    assert agreed("frame_max", wanted, 100, 10) == result


@pytest.mark.parametrize(("wanted", "word"), [(9, "lower than the minimum"), (101, "higher than the maximum")])
def test_what_is_out_of_range_is_not_allowed(wanted: int, word: str) -> None:
    with pytest.raises(NotAllowed, match=word):
        agreed("frame_max", wanted, 100, 10)
