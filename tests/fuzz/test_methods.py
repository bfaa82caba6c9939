"""Any bytes as a method payload: a declared error, or a method that is written back as it came."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.base import Frame

from amqpd.base.errors import HardError
from amqpd.wire.field_table import encode_table
from amqpd.wire.methods import decode_method, encode_method, new_method

INDICES = st.sampled_from(sorted(commands.INDEX_MAPPING))
ARGUMENTS: dict[str, st.SearchStrategy[object]] = {
    "bit": st.booleans(),
    "octet": st.integers(0, 255),
    "short": st.integers(0, 2**16 - 1),
    "long": st.integers(0, 2**32 - 1),
    "longlong": st.integers(0, 2**64 - 1),
    "shortstr": st.text(max_size=30),
    "longstr": st.binary(max_size=30).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    "table": st.dictionaries(st.text(max_size=8), st.integers(-9, 2**40) | st.text(max_size=8), max_size=4).map(
        encode_table
    ),
}


@st.composite
def methods(draw: st.DrawFn) -> Frame:
    method_class: type[Frame] = commands.INDEX_MAPPING[draw(INDICES)]
    return new_method(
        method_class, **{name: draw(ARGUMENTS[method_class.amqp_type(name)]) for name in method_class.__slots__}
    )


@given(
    st.one_of(
        st.binary(max_size=60), st.builds(lambda i, raw: i.to_bytes(4, "big") + raw, INDICES, st.binary(max_size=60))
    )
)
def test_any_bytes_are_a_method_or_a_declared_error(payload: bytes) -> None:
    try:
        method = decode_method(payload)
    except HardError as refused:
        reply_text = refused.reply_text
    else:
        reply_text = ""
    assert len(reply_text.encode()) <= 255
    if reply_text != "":
        return
    again = encode_method(method)
    assert len(again) == len(payload)
    assert encode_method(decode_method(again)) == again


@given(methods())
def test_what_is_encoded_comes_back(method: Frame) -> None:
    again = decode_method(encode_method(method))
    assert type(again) is type(method)
    for name in method.__slots__:
        assert getattr(again, name) == getattr(method, name)


@given(methods(), st.data())
def test_a_method_with_changed_bytes_is_a_method_or_a_declared_error(method: Frame, data: st.DataObject) -> None:
    raw = bytearray(encode_method(method))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del raw[data.draw(st.integers(0, len(raw))) :]
    try:
        again = decode_method(bytes(raw))
    except HardError:
        return
    assert len(encode_method(again)) == len(raw)
