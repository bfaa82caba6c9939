"""The TLS side of a listener: 1.2 or newer, AEAD suites, no compression, no renegotiation.

Owns: the SSLContext, and the sentence about a peer whose handshake fails. Invariant: with a CA a client without a certificate signed by it is never let in; there is no
fallback to less.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

HANDSHAKE_TIMEOUT_S: Final = 5.0

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


class ServerContext(ssl.SSLContext):
    on_refused: Callable[[str], None] | None = None


class ExplainedHandshake(ssl.SSLObject):
    """The event loop drops a peer whose handshake fails without a word, so the word is said here."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            context = self.context
            if isinstance(context, ServerContext) and context.on_refused is not None:
                reason = str(getattr(error, "reason", None) or error)
                context.on_refused(REFUSALS.get(reason, reason.lower().replace("_", " ")))
            raise


def server_context(
    cert: Path, key: Path, ca: Path | None, on_refused: Callable[[str], None] | None = None
) -> ssl.SSLContext:
    """`on_refused` is told why a peer's handshake failed."""
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.on_refused = on_refused
    context.sslobject_class = ExplainedHandshake
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
