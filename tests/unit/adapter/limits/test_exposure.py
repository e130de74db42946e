"""The warning of an address that others reach without a key."""

from __future__ import annotations

import pytest

from adapter.limits import exposure


@pytest.mark.parametrize(
    ("address", "alone"),
    [
        ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True), ("localhost", True),
        ("0.0.0.0", False), ("::", False), ("10.0.0.7", False), ("models.example.org", False), ("", False),
    ],
)  # fmt: skip
def test_A27_a_warning_where_others_reach_it_without_a_key(
    caplog: pytest.LogCaptureFixture, address: str, alone: bool
) -> None:
    assert exposure.is_loopback(address) is alone
    exposure.warn(address, has_keys=True)
    assert caplog.messages == []
    exposure.warn(address, has_keys=False)
    assert [message.split(" is not the loopback")[0] for message in caplog.messages] == ([] if alone else [address])


@pytest.mark.parametrize(
    ("host", "publish", "where"),
    [
        ("127.0.0.1", None, "127.0.0.1"), ("0.0.0.0", None, "0.0.0.0"),
        # In a container.
        ("0.0.0.0", "127.0.0.1", "127.0.0.1"), ("0.0.0.0", "10.0.0.7", "10.0.0.7"),
        # A .env that is for docker, and no docker.
        ("127.0.0.1", "0.0.0.0", "127.0.0.1"),
    ],
)  # fmt: skip
def test_A27_clients_come_by_what_is_published_where_anything_is(host: str, publish: str | None, where: str) -> None:
    assert exposure.reached_at(host, publish) == where
