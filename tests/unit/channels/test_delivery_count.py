from __future__ import annotations

from amqpd.channels.delivery_count import with_delivery_count
from amqpd.wire.properties import headers


def test_the_count_is_added_to_whatever_headers_there_are_and_replaced_later() -> None:
    header = with_delivery_count(b"\x00\x3c\x00\x00" + bytes(8) + b"\x10\x00\x02", 1)
    table = headers(with_delivery_count(header, 2))
    assert table is not None
    assert table.items() == [("x-delivery-count", 2)]
