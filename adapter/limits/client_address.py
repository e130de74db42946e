"""Whose request it is, by address: the connection's, or what trusted proxies say."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable


def client_address(peer: str, named: Iterable[tuple[bytes, bytes]], hops: int) -> str:
    """Return the address that is `hops` from the right in X-Forwarded-For: each proxy in front wrote one.

    Whatever stands further left was written by the client. Return `peer`, the connection's own address, if there are
    fewer, or if what stands there is no address.
    """
    if not hops:
        return peer
    chain = b",".join([value for name, value in named if name == b"x-forwarded-for"]).rsplit(b",", hops)
    written = chain[-hops:] if len(chain) >= hops else []
    return (written and _address(written[0])) or peer


def quota_address(address: str) -> str:
    """Return what one client has for itself: an IPv4 address, or an IPv6 network of 64 bits."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(parsed) >> 64 << 64)) + "/64"


def _address(written: bytes) -> str | None:
    """Return the address that a proxy wrote, with or without a port; None if it is no address."""
    text = written.decode("latin-1").strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
