"""The certificate that the adapter shows its clients."""

from __future__ import annotations

import ssl
from pathlib import Path

from converter.errors import ConfigError
from converter.schema.settings import Settings


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """Make a context of TLS 1.2 and newer; None without a certificate. Raises ConfigError if they are no pair."""
    certificate, key = settings.tls_cert, settings.tls_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing, name = ("SCHWIFT_TLS_CERT", "certificate") if certificate is None else ("SCHWIFT_TLS_KEY", "key")
        raise ConfigError(f"{missing}: HTTPS needs the {name} too: set both, or none")
    _readable("SCHWIFT_TLS_CERT", certificate)
    _readable("SCHWIFT_TLS_KEY", key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # What the HTTP protocol speaks; who offers HTTP/2 first is told so in the handshake.
    context.set_alpn_protocols(["http/1.1"])
    try:
        # An empty password: OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"SCHWIFT_TLS_CERT, SCHWIFT_TLS_KEY: {certificate} and {key} are no pair of a certificate and its key: "
            "name two PEM files that belong together, the key without a password"
        ) from error
    return context


def _readable(setting: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(f"{setting}: {path} cannot be read: {error.strerror}: name a PEM file") from error
