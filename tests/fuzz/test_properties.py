"""Any bytes as a content header: a declared error, or properties that read and splice consistently."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from amqpd.base.errors import HardError
from amqpd.wire import properties as p
from amqpd.wire.field_table import encode_table
from amqpd.wire.properties import Properties, check_header, decode_properties, encode_header

SHORT = st.none() | st.text(max_size=20)
OCTET = st.none() | st.integers(0, 255)
TABLES = st.dictionaries(st.text(max_size=8), st.none() | st.integers(0, 9) | st.text(max_size=8), max_size=4)
PROPERTIES = st.builds(
    Properties,
    content_type=SHORT,
    content_encoding=SHORT,
    headers=st.none() | TABLES.map(encode_table),
    delivery_mode=OCTET,
    priority=OCTET,
    correlation_id=SHORT,
    reply_to=SHORT,
    expiration=SHORT,
    message_id=SHORT,
    timestamp=st.none() | st.integers(0, 2**64 - 1),
    type=SHORT,
    user_id=SHORT,
    app_id=SHORT,
    cluster_id=SHORT,
)


def read_all(header: bytes) -> None:
    properties = decode_properties(header)
    assert p.is_persistent(header) is (properties.delivery_mode == 2)
    assert p.with_property(header, p.PRIORITY, b"\x05")[: len(header)][:12] == header[:12]
    for bit in (p.HEADERS, p.DELIVERY_MODE, p.REPLY_TO, p.EXPIRATION, p.TIMESTAMP, p.CLUSTER_ID):
        check_header(p.without_property(header, bit))
    assert decode_properties(p.with_reply_to(header, b"r")) == replace(properties, reply_to="r")


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(lambda raw: b"\x00\x3c\x00\x00" + bytes(8) + raw)))
def test_any_bytes_are_a_header_or_a_declared_error(raw: bytes) -> None:
    try:
        check_header(raw)
    except HardError:
        return
    read_all(raw)


@given(PROPERTIES, st.integers(0, 2**63 - 1))
def test_what_is_encoded_comes_back(properties: Properties, size: int) -> None:
    header = encode_header(size, properties)
    assert decode_properties(header) == properties
    assert p.body_size(header) == size
    read_all(header)


@given(PROPERTIES, TABLES)
def test_splicing_touches_one_property(properties: Properties, values: dict[str, object]) -> None:
    header = encode_header(1, properties)
    table = encode_table(values)
    assert p.with_headers(header, table) == encode_header(1, replace(properties, headers=table))
    assert p.without_headers(header) == encode_header(1, replace(properties, headers=None))
    assert p.without_expiration(header) == encode_header(1, replace(properties, expiration=None))


@given(PROPERTIES, st.data())
def test_a_header_with_changed_bytes_is_a_header_or_a_declared_error(
    properties: Properties, data: st.DataObject
) -> None:
    raw = bytearray(encode_header(1, properties))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    del raw[data.draw(st.integers(len(raw) // 2, len(raw))) :]
    try:
        check_header(bytes(raw))
    except HardError:
        return
    read_all(bytes(raw))
