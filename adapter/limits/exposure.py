"""Whether everybody on the network may ask."""

from __future__ import annotations

import ipaddress
import logging

_log = logging.getLogger(__name__)


def is_loopback(address: str) -> bool:
    """Return whether this machine alone reaches the address; a name other than `localhost` may be anything."""
    bare = address.strip("[]")
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return bare == "localhost"


def reached_at(host: str, publish: str | None) -> str:
    """Return where clients come in: a container listens everywhere, and is published at one address."""
    return host if publish is None or is_loopback(host) else publish


def warn(address: str, has_keys: bool, has_tls: bool, grpc_port: int | None) -> None:
    """Log a warning if the address is open to others and nobody is asked for a key, or keys go over gRPC unciphered.

    `grpc_port` is that of the same address; None if there is none.
    """
    if is_loopback(address):
        return
    if not has_keys:
        _log.warning(
            "%s is not the loopback address and there are no API keys: whoever reaches it may ask the models%s; set "
            "SCHWIFT_API_KEYS_FILE, or SCHWIFT_HOST (with docker SCHWIFT_PUBLISH) to 127.0.0.1",
            address,
            "" if grpc_port is None else f", over gRPC on port {grpc_port} too",
        )
    elif grpc_port is not None and not has_tls:
        _log.warning(
            "%s is not the loopback address, and on its port %d gRPC's keys and rows go over the network in the clear: "
            "set SCHWIFT_TLS_CERT and SCHWIFT_TLS_KEY",
            address,
            grpc_port,
        )
