"""The TLS side of a listener: 1.2 or newer, AEAD suites, no compression, no renegotiation.

Owns: the SSLContext. Invariant: with a CA a client without a certificate signed by it is never let in; there is no
fallback to less.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

HANDSHAKE_TIMEOUT_S: Final = 5.0

# TLS 1.3 has nothing but AEAD; this is the list for 1.2.
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!eNULL"


class TlsError(Exception):
    """A certificate, key or CA that can't be used, as one sentence."""


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
