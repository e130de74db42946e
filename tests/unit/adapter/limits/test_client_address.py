"""Whose request it is: what proxies are believed, and which addresses are one client."""

from __future__ import annotations

import pytest

from adapter.limits.client_address import client_address, quota_address

PEER = "192.0.2.9"


def seen(hops: int, *written: str) -> str:
    """By X-Forwarded-For headers, one after the other."""
    return client_address(PEER, [(b"host", b"t"), *((b"x-forwarded-for", value.encode()) for value in written)], hops)


@pytest.mark.parametrize(
    ("hops", "written", "address"),
    [
        (0, ("1.1.1.1",), PEER),
        (1, (), PEER),
        (1, ("1.1.1.1",), "1.1.1.1"),
        (1, ("6.6.6.6, 1.1.1.1",), "1.1.1.1"),
        (1, ("6.6.6.6", "1.1.1.1"), "1.1.1.1"),
        (2, ("6.6.6.6, 1.1.1.1, 10.0.0.1",), "1.1.1.1"),
        (2, ("6.6.6.6, 1.1.1.1", "10.0.0.1"), "1.1.1.1"),
        # It did not come through both.
        (2, ("1.1.1.1",), PEER),
        (1, ("1.1.1.1:4711",), "1.1.1.1"),
        (1, ("[2001:db8::1]:4711",), "2001:db8::1"),
        (1, ("2001:DB8:0::1",), "2001:db8::1"),
        (1, ("unknown",), PEER),
        (1, ("1.1.1.1, ",), PEER),
        (1, ("999.1.1.1",), PEER),
        (1, ("\xff\xfe",), PEER),
        (1, ("1.1.1.1," * 10_000 + "2.2.2.2",), "2.2.2.2"),
    ],
)
def test_the_address_is_so_many_from_the_right(hops: int, written: tuple[str, ...], address: str) -> None:
    assert seen(hops, *written) == address


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a:b", "a:b"),
        ("-", "-"),
    ],
)
def test_a_network_of_ipv6_is_one_client(address: str, client: str) -> None:
    assert quota_address(address) == client
