"""Throw-away certificates, made by the openssl command: a CA, a server and a client that it signed, and a stranger."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.needs import need


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=30)


def _key(folder: Path, name: str) -> None:
    _openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")


def _self_signed(folder: Path, name: str) -> None:
    _key(folder, name)
    _openssl(folder, "req", "-x509", "-key", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}")


def _signed(folder: Path, name: str) -> None:
    _key(folder, name)
    (folder / "san.cnf").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    _openssl(folder, "req", "-new", "-key", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    _openssl(
        folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
        "-out", f"{name}.pem", "-days", "2", "-extfile", "san.cnf",
    )  # fmt: skip


def make_certificates(folder: Path) -> Path:
    """ca.pem; server, client (signed by it) and stranger (self-signed), each with NAME.pem and NAME.key."""
    need("openssl")
    _self_signed(folder, "ca")
    _self_signed(folder, "stranger")
    _signed(folder, "server")
    _signed(folder, "client")
    return folder
