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


def warn(address: str, has_keys: bool) -> None:
    """Log a warning if the address is open to others and nobody is asked for a key."""
    if not has_keys and not is_loopback(address):
        _log.warning(
            "%s is not the loopback address and there are no API keys: whoever reaches it may ask the models; set "
            "SCHWIFT_API_KEYS_FILE, or SCHWIFT_HOST (with docker SCHWIFT_PUBLISH) to 127.0.0.1",
            address,
        )
