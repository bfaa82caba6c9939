"""AMQP over TLS with certificates of our own making; needs the openssl command."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import pika
import pytest

from tests.chaos.process import BrokerProcess, free_port
from tests.fakes.certificates import make_certificates

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"


class TlsBroker:
    def __init__(self, directory: Path, certificates: Path, asks_for_certificate: bool) -> None:
        self.certificates = certificates
        self.tls_port = free_port()
        self.process = BrokerProcess(directory)
        self.process.flags = ["--amqps", f"127.0.0.1:{self.tls_port}"]
        self.process.flags += [
            "--tls-cert",
            str(certificates / "server.pem"),
            "--tls-key",
            str(certificates / "server.key"),
        ]
        if asks_for_certificate:
            self.process.flags += ["--tls-ca", str(certificates / "ca.pem")]
        asyncio.run(self.process.start())

    def context(self) -> ssl.SSLContext:
        """A client that trusts our CA, and checks the host name."""
        return ssl.create_default_context(cafile=self.certificates / "ca.pem")

    def url(self, **query: object) -> str:
        pairs = "&".join(f"{key}={value}" for key, value in query.items())
        return f"amqps://guest:guest@localhost:{self.tls_port}/?{pairs}"

    def handshake(self, context: ssl.SSLContext) -> str:
        """The protocol version; the first bytes of AMQP have been exchanged."""
        with socket.create_connection(("127.0.0.1", self.tls_port), timeout=60) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                secure.sendall(PROTOCOL_HEADER)
                # With TLS 1.3 a client learns only now that its certificate was refused.
                if secure.recv(1) != b"\x01":
                    raise ConnectionResetError
                return secure.version() or ""

    def wait_for_log(self, text: str) -> None:
        deadline = time.monotonic() + 60
        while text not in self.process.log():
            assert time.monotonic() < deadline, f"the log never says {text!r}:\n{self.process.log()[-2000:]}"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def serve(directory: Path, certificates: Path, asks_for_certificate: bool) -> Iterator[TlsBroker]:
    broker = TlsBroker(directory, certificates, asks_for_certificate)
    try:
        yield broker
        asyncio.run(broker.process.stop())
        assert "Traceback" not in broker.process.log(), broker.process.log()[-4000:]
    finally:
        broker.process.kill()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[TlsBroker]:
    yield from serve(tmp_path_factory.mktemp("tls"), certificates, asks_for_certificate=False)


@pytest.fixture(scope="module")
def asking_broker(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[TlsBroker]:
    yield from serve(tmp_path_factory.mktemp("mutual-tls"), certificates, asks_for_certificate=True)


async def test_aio_pika_works_over_verified_tls(broker: TlsBroker) -> None:
    connection = await aio_pika.connect(broker.url(cafile=broker.certificates / "ca.pem"))
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        body = b"x" * 300_000
        await channel.default_exchange.publish(aio_pika.Message(body), routing_key=queue.name)
        message = await queue.get(timeout=60)
        assert message is not None
        assert message.body == body
        await message.ack()


def test_pika_works_over_verified_tls(broker: TlsBroker) -> None:
    options = pika.SSLOptions(broker.context(), "localhost")
    parameters = pika.ConnectionParameters("127.0.0.1", broker.tls_port, ssl_options=options)
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.basic_publish("", queue, b"hello")
        _, _, body = channel.basic_get(queue, auto_ack=True)
        assert body == b"hello"


def test_client_that_does_not_know_the_ca_refuses_us(broker: TlsBroker) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        broker.handshake(ssl.create_default_context())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_current_versions_of_tls_are_spoken(version: ssl.TLSVersion, broker: TlsBroker) -> None:
    context = broker.context()
    context.minimum_version = context.maximum_version = version
    assert broker.handshake(context) == version.name.replace("_", ".")


# The constant itself is deprecated, which is the point of the test.
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
def test_tls_1_1_is_refused(broker: TlsBroker) -> None:
    context = broker.context()
    # Else the client's own library would refuse before it has sent anything.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        broker.handshake(context)
    broker.wait_for_log("it offers no version of TLS from 1.2 on")


def test_cipher_suite_without_aead_is_refused(broker: TlsBroker) -> None:
    context = broker.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
    with pytest.raises(ssl.SSLError):
        broker.handshake(context)


def test_tls_on_the_plain_port_is_explained_in_the_log(broker: TlsBroker) -> None:
    with socket.create_connection(("127.0.0.1", broker.process.port), timeout=60) as plain:
        with pytest.raises((ssl.SSLError, OSError)):
            broker.context().wrap_socket(plain, server_hostname="localhost")
    broker.wait_for_log("this looks like TLS")


def test_plain_amqp_on_the_tls_port_is_explained_in_the_log(broker: TlsBroker) -> None:
    with socket.create_connection(("127.0.0.1", broker.tls_port), timeout=60) as plain:
        plain.sendall(PROTOCOL_HEADER)
        plain.settimeout(60)
        assert not plain.recv(100).startswith(b"AMQP")
    broker.wait_for_log("the TLS handshake with 127.0.0.1:")
    broker.wait_for_log("failed: its first bytes are not TLS; plain AMQP has a port of its own")


def test_silent_peer_of_the_tls_port_is_dropped(broker: TlsBroker) -> None:
    with socket.create_connection(("127.0.0.1", broker.tls_port), timeout=60) as plain:
        plain.settimeout(120)
        assert plain.recv(1) == b""


def test_client_certificate_is_asked_for_and_checked(asking_broker: TlsBroker) -> None:
    folder = asking_broker.certificates
    with pytest.raises((ssl.SSLError, ConnectionError)):
        asking_broker.handshake(asking_broker.context())
    asking_broker.wait_for_log("it shows no certificate")
    stranger = asking_broker.context()
    stranger.load_cert_chain(folder / "stranger.pem", folder / "stranger.key")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        asking_broker.handshake(stranger)
    asking_broker.wait_for_log("its certificate is not signed by tls_ca")
    known = asking_broker.context()
    known.load_cert_chain(folder / "client.pem", folder / "client.key")
    assert asking_broker.handshake(known).startswith("TLS")
