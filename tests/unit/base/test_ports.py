from __future__ import annotations

import pytest

from amqpd.base.ports import Entropy


class Zeros(Entropy):
    def token(self, size_bytes: int) -> bytes:
        return bytes(size_bytes)


def test_a_shell_brings_its_own_entropy() -> None:
    entropy: Entropy = Zeros()
    assert entropy.token(4) == b"\x00\x00\x00\x00"


def test_the_port_itself_has_none() -> None:
    with pytest.raises(NotImplementedError):
        Entropy().token(1)
