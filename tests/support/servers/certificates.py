"""Certificates for tests, made with openssl: an authority, and what it signs for 127.0.0.1."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    certificate: Path
    key: Path


def self_signed(folder: Path, name: str) -> Pair:
    pair = _pair(folder, name)
    _openssl("req", "-x509", *_request(pair, name), "-days", "2", "-out", pair.certificate)
    return pair


def signed(folder: Path, name: str, authority: Pair) -> Pair:
    pair = _pair(folder, name)
    request = folder / f"{name}.csr"
    _openssl("req", *_request(pair, name), "-out", request)
    _openssl(
        "x509", "-req", "-in", request, "-CA", authority.certificate, "-CAkey", authority.key, "-CAcreateserial",
        "-days", "2", "-copy_extensions", "copy", "-out", pair.certificate,
    )  # fmt: skip
    return pair


def trusting(pair: Pair) -> ssl.SSLContext:
    """A client's."""
    return ssl.create_default_context(cafile=str(pair.certificate))


def _pair(folder: Path, name: str) -> Pair:
    return Pair(folder / f"{name}.pem", folder / f"{name}.key")


def _request(pair: Pair, name: str) -> list[str | Path]:
    return [
        "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", pair.key, "-subj", f"/CN={name}",
        "-addext", "subjectAltName=IP:127.0.0.1",
    ]  # fmt: skip


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
