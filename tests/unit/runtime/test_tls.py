from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from amqpd.runtime.tls import TlsError, explain, hello_bytes, server_context
from tests.fakes.certificates import make_certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def client(certificates: Path, name: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    if name:
        context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    return context


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Both ends in memory, until each is content. Raises SSLError if one is not."""
    upward, downward = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        server.wrap_bio(upward, downward, server_side=True),
        client.wrap_bio(downward, upward, server_hostname="localhost"),
    ]
    for _ in range(10):
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    # TLS 1.3 tells a client that its certificate is refused only after the client's own end of the handshake.
    for end in ends:
        try:
            end.read(1)
        except ssl.SSLWantReadError:
            continue
    return ends[1]


def context(certificates: Path, ca: bool = False) -> ssl.SSLContext:
    return server_context(
        certificates / "server.pem", certificates / "server.key", certificates / "ca.pem" if ca else None
    )


def test_a_modern_client_gets_tls_1_3(certificates: Path) -> None:
    assert shake_hands(context(certificates), client(certificates)).version() == "TLSv1.3"


def test_tls_1_2_is_served_with_aead_only(certificates: Path) -> None:
    old = client(certificates)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    name, version, _ = shake_hands(context(certificates), old).cipher() or ("", "", 0)
    assert version == "TLSv1.2"
    assert "GCM" in name or "CHACHA20" in name


def test_tls_1_2_without_aead_is_refused(certificates: Path) -> None:
    old = client(certificates)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA")
    with pytest.raises(ssl.SSLError):
        shake_hands(context(certificates), old)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_1_1_is_refused(certificates: Path) -> None:
    old = client(certificates)
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        shake_hands(context(certificates), old)


def test_with_a_ca_a_client_needs_a_certificate(certificates: Path) -> None:
    shake_hands(context(certificates, ca=True), client(certificates, "client"))
    with pytest.raises(ssl.SSLError):
        shake_hands(context(certificates, ca=True), client(certificates))


def test_with_a_ca_a_stranger_is_refused(certificates: Path) -> None:
    with pytest.raises(ssl.SSLError):
        shake_hands(context(certificates, ca=True), client(certificates, "stranger"))


def test_why_a_handshake_failed_is_told(certificates: Path) -> None:
    server = context(certificates, ca=True)
    told: list[str] = []
    with pytest.raises(ssl.SSLError) as failed:
        shake_hands(server, client(certificates))
    told.append(explain(failed.value))
    for first_bytes in (b"AMQP\x00\x00\x09\x01", b"GET / HTTP/1.1\r\n\r\n"):
        incoming = ssl.MemoryBIO()
        incoming.write(first_bytes)
        with pytest.raises(ssl.SSLError) as failed:
            server.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True).do_handshake()
        told.append(explain(failed.value))
    told += [explain(each) for each in (ConnectionResetError(), ConnectionAbortedError(), OSError(24, "no files"))]
    assert told == [
        "it shows no certificate, and tls_ca asks for one",
        "its first bytes are not TLS; plain AMQP has a port of its own",
        "this looks like HTTP without TLS; the management API listens on another port",
        "it went away",
        "it took too long",
        "no files",
    ]


def test_the_first_bytes_say_how_long_a_client_hello_is(certificates: Path) -> None:
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        client(certificates).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    hello = outgoing.read()
    assert [hello_bytes(hello[:size]) for size in (1, 4, 5, 100, len(hello))] == [5, 5] + [len(hello)] * 3
    assert hello_bytes(b"AMQP") == 4


def test_missing_file_is_refused_with_a_sentence(certificates: Path) -> None:
    with pytest.raises(TlsError, match=r"can't read .*nothing.pem: No such file"):
        server_context(certificates / "nothing.pem", certificates / "server.key", None)


def test_key_of_another_certificate_is_refused(certificates: Path) -> None:
    with pytest.raises(TlsError, match="are not a usable certificate and key"):
        server_context(certificates / "server.pem", certificates / "client.key", None)


def test_ca_that_is_none_is_refused(certificates: Path) -> None:
    with pytest.raises(TlsError, match="is not a usable CA certificate"):
        server_context(certificates / "server.pem", certificates / "server.key", certificates / "ca.key")
