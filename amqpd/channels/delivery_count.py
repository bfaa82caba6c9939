"""x-delivery-count: how often a message was tried before, told on redelivery.

RabbitMQ's quorum queues have the header; here every queue with an x-delivery-limit or a back-off does.
"""

from __future__ import annotations

from mypy_extensions import i64

from amqpd.wire.field_table import EMPTY_TABLE, with_value
from amqpd.wire.properties import headers, with_headers


def with_delivery_count(header: bytes, delivery_count: i64) -> bytes:
    return with_headers(header, with_value(headers(header) or EMPTY_TABLE, "x-delivery-count", int(delivery_count)))
