from __future__ import annotations

import pytest
from pamqp import commands

from amqpd.base.errors import AmqpError, ChannelFault, FrameError, NotAllowed, NotFound, UnexpectedFrame
from amqpd.channels.session import Session
from amqpd.connections.channel_table import ChannelTable
from amqpd.wire.methods import decode_method, encode_method, new_method
from amqpd.wire.outbox import Outbox
from tests.behaviour.harness import BrokerHarness
from tests.fuzz.streams import split_output

OPEN = encode_method(new_method(commands.Channel.Open))
CLOSE = encode_method(new_method(commands.Channel.Close))
CLOSE_OK = encode_method(new_method(commands.Channel.CloseOk))
QOS = encode_method(new_method(commands.Basic.Qos))


class Side:
    def __init__(self, broker: BrokerHarness, channel_max: int = 3) -> None:
        self.outbox = Outbox(9, [])
        self.session: Session = broker.broker.new_session(9, self.outbox, broker.broker.vhosts["/"], "guest")
        self.table = ChannelTable(self.outbox)
        self.table.channel_max = channel_max

    def frame(self, number: int, payload: bytes, kind: int = 1) -> list[str]:
        """What is answered to a frame for a number that has no open channel."""
        self.table.on_frame(self.session, kind, number, payload)
        return [decode_method(each).name for _, channel, each in split_output(self.outbox.take()) if channel == number]


def test_a_number_is_opened_closed_and_free_again(broker: BrokerHarness) -> None:
    side = Side(broker)
    assert side.frame(2, OPEN) == ["Channel.OpenOk"]
    channel = side.table.find(2)
    assert channel is not None
    side.table.forget(channel)
    assert side.table.find(2) is None
    assert side.frame(2, OPEN) == ["Channel.OpenOk"]
    assert side.table.find(2) is not channel


def test_how_many_are_open_is_limited(broker: BrokerHarness) -> None:
    side = Side(broker, 2)
    side.frame(1, OPEN)
    # RabbitMQ counts channels and does not look at their numbers.
    side.frame(9, OPEN)
    with pytest.raises(NotAllowed, match=r"opened \(2\) has reached the negotiated channel_max \(2\)"):
        side.frame(3, OPEN)


@pytest.mark.parametrize(
    ("kind", "payload", "fault"),
    [
        (1, QOS, ChannelFault),
        (1, CLOSE, ChannelFault),
        (1, CLOSE_OK, ChannelFault),
        (1, b"\x00", FrameError),
        (2, bytes(14), UnexpectedFrame),
        (3, b"x", UnexpectedFrame),
        (8, b"", FrameError),
        (4, b"", FrameError),
    ],
)
def test_on_a_number_that_is_not_open_everything_but_open_is_a_fault(
    broker: BrokerHarness, kind: int, payload: bytes, fault: type[AmqpError]
) -> None:
    with pytest.raises(fault):
        Side(broker).frame(1, payload, kind)


def test_a_channel_that_we_closed_waits_for_close_ok_and_hears_nothing_else(broker: BrokerHarness) -> None:
    side = Side(broker)
    side.frame(1, OPEN)
    channel = side.table.find(1)
    assert channel is not None
    channel.method_index = commands.Queue.Declare.index
    side.table.close(channel, NotFound("no queue"))
    close = decode_method(split_output(side.outbox.take())[0][2])
    assert isinstance(close, commands.Channel.Close)
    assert (close.reply_code, close.reply_text, close.class_id, close.method_id) == (
        404,
        "NOT_FOUND - no queue",
        50,
        10,
    )
    for kind, payload in ((1, QOS), (1, OPEN), (2, bytes(14)), (3, b"x")):
        assert side.frame(1, payload, kind) == []
    # Both closed at once.
    assert side.frame(1, CLOSE) == ["Channel.CloseOk"]
    assert side.table.find(1) is channel
    assert side.frame(1, CLOSE_OK) == []
    assert side.table.find(1) is None


def test_release_ends_them_all(broker: BrokerHarness) -> None:
    side = Side(broker)
    for number in (1, 2, 3):
        side.frame(number, OPEN)
    side.table.release()
    assert side.table.channels == {}
