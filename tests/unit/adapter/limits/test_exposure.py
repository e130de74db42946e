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
    exposure.warn(address, has_keys=True, has_tls=False, grpc_port=None)
    assert caplog.messages == []
    exposure.warn(address, has_keys=False, has_tls=True, grpc_port=None)
    assert [message.split(" is not the loopback")[0] for message in caplog.messages] == ([] if alone else [address])


@pytest.mark.parametrize(
    ("address", "has_keys", "has_tls", "said"),
    [
        ("0.0.0.0", False, False, "over gRPC on port 8006 too"), ("0.0.0.0", False, True, "over gRPC on port 8006 too"),
        ("10.0.0.7", True, False, "on its port 8006 gRPC's keys and rows go over the network in the clear"),
        ("0.0.0.0", True, True, None), ("127.0.0.1", False, False, None), ("::1", True, False, None),
    ],
)  # fmt: skip
def test_A27_grpcs_port_is_warned_of_too(
    caplog: pytest.LogCaptureFixture, address: str, has_keys: bool, has_tls: bool, said: str | None
) -> None:
    exposure.warn(address, has_keys, has_tls, grpc_port=8006)
    assert len(caplog.messages) == (said is not None)
    assert (said or "") in "".join(caplog.messages)


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
