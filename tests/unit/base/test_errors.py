from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqpd.base import errors
from amqpd.base.errors import REPLY_NAMES, AmqpError, Corrupt, HardError, SoftError

SOFT = {"NoRoute": 312, "AccessRefused": 403, "NotFound": 404, "ResourceLocked": 405, "PreconditionFailed": 406}
HARD = {
    "ConnectionForced": 320,
    "LoginRefused": 403,
    "FrameError": 501,
    "SyntaxFault": 502,
    "CommandInvalid": 503,
    "ChannelFault": 504,
    "UnexpectedFrame": 505,
    "ResourceFault": 506,
    "NotAllowed": 530,
    "NotImplementedFault": 540,
    "InternalFault": 541,
}


@pytest.mark.parametrize(
    ("name", "reply_code", "family"),
    [
        *((name, code, SoftError) for name, code in SOFT.items()),
        *((name, code, HardError) for name, code in HARD.items()),
    ],
)
def test_an_error_has_its_code_its_family_and_its_text(name: str, reply_code: int, family: type) -> None:
    error = getattr(errors, name)("what was wrong")
    assert isinstance(error, family)
    assert isinstance(error, AmqpError)
    assert error.reply_code == reply_code
    assert error.explanation == str(error) == "what was wrong"
    assert error.reply_text == f"{REPLY_NAMES[reply_code]} - what was wrong"


def test_soft_and_hard_are_all_there_are() -> None:
    def below(family: type) -> set[str]:
        return {each.__name__ for each in family.__subclasses__()}

    assert below(SoftError) == set(SOFT)
    assert below(HardError) == set(HARD)
    assert below(AmqpError) == {"SoftError", "HardError"}


@given(st.sampled_from(sorted(REPLY_NAMES)), st.text(max_size=300))
def test_a_reply_text_always_fits_a_short_string_and_is_cut_between_characters(code: int, explanation: str) -> None:
    text = AmqpError(code, explanation).reply_text
    assert len(text.encode()) <= 255
    whole = f"{REPLY_NAMES[code]} - {explanation}"
    assert text == whole or (text.endswith("...") and whole.startswith(text.removesuffix("...")))


@given(st.binary(max_size=300))
def test_names_of_any_bytes_fit_too(raw: bytes) -> None:
    text = AmqpError(404, raw.decode("utf-8", "surrogateescape")).reply_text
    assert len(text.encode("utf-8", "surrogateescape")) <= 255


def test_corrupt_says_where_and_why() -> None:
    corrupt = Corrupt("segment-1", 99, "checksum")
    assert str(corrupt) == "segment-1 at byte 99: checksum"
    assert (corrupt.path, corrupt.offset, corrupt.why) == ("segment-1", 99, "checksum")
    assert not isinstance(corrupt, AmqpError)
