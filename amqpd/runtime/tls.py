"""The TLS side of a listener: 1.2 or newer, AEAD suites, no compression, no renegotiation.

Owns: the SSLContext, and the sentence about a peer whose handshake fails. Invariant: with a CA a client without a
certificate signed by it is never let in; there is no fallback to less.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

# From accept to the ClientHello.
HELLO_TIMEOUT_MS: Final = 5_000
HANDSHAKE_RECORD: Final = 22

# TLS 1.3 has nothing but AEAD; this is the list for 1.2.
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!eNULL"


class TlsError(Exception):
    """A certificate, key or CA that can't be used, as one sentence."""


# What OpenSSL calls it, and what it means for whoever reads our log.
REFUSALS: Final = {
    "HTTP_REQUEST": "this looks like HTTP without TLS; the management API listens on another port",
    "WRONG_VERSION_NUMBER": "its first bytes are not TLS; plain AMQP has a port of its own",
    "UNSUPPORTED_PROTOCOL": "it offers no version of TLS from 1.2 on",
    "NO_SHARED_CIPHER": "it offers no cipher suite with AEAD",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate, and tls_ca asks for one",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not signed by tls_ca, or not valid now",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the CA of our certificate",
}


def explain(error: OSError) -> str:
    """Why a handshake failed, for whoever reads our log."""
    if isinstance(error, ssl.SSLError):
        reason = str(error.reason or error)
        return REFUSALS.get(reason, reason.lower().replace("_", " "))
    if isinstance(error, TimeoutError | ConnectionAbortedError):
        return "it took too long"
    if isinstance(error, ConnectionError):
        return "it went away"
    return error.strerror or str(error)


def hello_bytes(head: bytes) -> int:
    """How many bytes a ClientHello that begins with `head` has with its record; what is none is whole as it is."""
    if head[0] != HANDSHAKE_RECORD:
        return len(head)
    return 5 + int.from_bytes(head[3:5], "big") if len(head) >= 5 else 5


def server_context(cert: Path, key: Path, ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(CIPHERS)
    for path in (cert, key, *((ca,) if ca else ())):
        try:
            path.open("rb").close()
        except OSError as error:
            raise TlsError(f"can't read {path}: {error.strerror}") from None
    try:
        # A key with a passphrase would ask for it on the terminal: refused instead.
        context.load_cert_chain(cert, key, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        raise TlsError(f"{cert} and {key} are not a usable certificate and key: {_reason(error)}") from None
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except (ssl.SSLError, OSError) as error:
            raise TlsError(f"{ca} is not a usable CA certificate: {_reason(error)}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)
