"""The numbers, against the library that has them from the specification."""

from __future__ import annotations

import pytest
from pamqp import commands, constants

from amqpd.wire import frames


@pytest.mark.parametrize(
    ("index", "method"),
    [
        (frames.CHANNEL_OPEN, commands.Channel.Open),
        (frames.CHANNEL_CLOSE, commands.Channel.Close),
        (frames.CHANNEL_CLOSE_OK, commands.Channel.CloseOk),
        (frames.BASIC_PUBLISH, commands.Basic.Publish),
        (frames.BASIC_RETURN, commands.Basic.Return),
        (frames.BASIC_DELIVER, commands.Basic.Deliver),
        (frames.BASIC_GET, commands.Basic.Get),
        (frames.BASIC_GET_OK, commands.Basic.GetOk),
        (frames.BASIC_GET_EMPTY, commands.Basic.GetEmpty),
        (frames.BASIC_ACK, commands.Basic.Ack),
        (frames.BASIC_REJECT, commands.Basic.Reject),
        (frames.BASIC_NACK, commands.Basic.Nack),
    ],
)
def test_a_method_index_is_class_and_method_id(index: int, method: type) -> None:
    assert index == method.index  # type: ignore[attr-defined]


def test_frame_types_and_end_are_the_specifications() -> None:
    assert frames.FRAME_METHOD == constants.FRAME_METHOD
    assert frames.FRAME_HEADER == constants.FRAME_HEADER
    assert frames.FRAME_BODY == constants.FRAME_BODY
    assert frames.FRAME_HEARTBEAT == constants.FRAME_HEARTBEAT
    assert frames.FRAME_END == constants.FRAME_END
    assert b"AMQP\x00" + bytes(constants.VERSION) == frames.PROTOCOL_HEADER
