"""Where heads end, in whatever pieces they come."""

from __future__ import annotations

import pytest

from adapter import errors
from adapter.sockets.stepping import HeadCutter, find_end, is_one_request

HEAD = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("cut", range(1, len(HEAD)))
def test_a_head_ends_at_its_empty_line_wherever_it_is_cut(cut: int) -> None:
    cutter = HeadCutter(100)
    # The same cutter again: nothing of the first head is left in it.
    for _ in range(2):
        assert cutter.cut(HEAD[:cut], 0) == (cut, False)
        rest = HEAD[cut:] + HEAD
        assert cutter.cut(rest, 0) == (len(HEAD) - cut, True)


def test_a_head_is_taken_up_to_its_bound_and_no_further() -> None:
    assert HeadCutter(len(HEAD)).cut(HEAD, 0) == (len(HEAD), True)
    for pieces in ([HEAD], [HEAD[:-1], HEAD[-1:]], [bytes([byte]) for byte in HEAD]):
        cutter = HeadCutter(len(HEAD) - 1)
        with pytest.raises(errors.HeadTooLarge):
            for piece in pieces:
                cutter.cut(piece, 0)


@pytest.mark.parametrize("line", [b"GET / HTTP/2.0", b"GET / RTSP/1.0", b"GET /", b"HTTP/1.1", b"GET / HTTP/1.1 "])
def test_a_first_line_of_another_protocol_is_refused_as_soon_as_it_ends(line: bytes) -> None:
    for start in (b"", b"\r\n", b"\r\n\r\n\r\n"):
        cutter, data = HeadCutter(1000), start + line + b"\r\n"
        with pytest.raises(errors.MalformedRequest):
            at = 0
            while at < len(data):
                at, _ = cutter.cut(data[: at + 1], at)


def test_empty_lines_before_a_request_are_let_pass() -> None:
    cutter = HeadCutter(100)
    assert cutter.cut(b"\r\n" + HEAD, 0) == (2 + len(HEAD), True)
    assert cutter.cut(b"\r\n\r\n" + HEAD, 0) == (4, True)
    assert cutter.cut(b"\r", 0) == (1, False)
    assert cutter.cut(b"\n" + HEAD, 0) == (1 + len(HEAD), True)


def test_an_empty_line_is_found_across_packets() -> None:
    assert find_end(b"\nrest", 0, b"\r\n\r") == (1, True)
    assert find_end(b"\r\nrest", 0, b"a\r\n") == (2, True)
    assert find_end(b"rest\r\n\r\n", 2, b"") == (8, True)
    assert find_end(b"rest\r\n\r", 2, b"\r\n\r") == (7, False)


@pytest.mark.parametrize(
    ("packet", "wanted"),
    [
        (HEAD, True),
        (HEAD + b"body", True),
        (HEAD + HEAD, False),
        (HEAD[:-1], False),
        (b"\r\n" + HEAD, False),
        (HEAD.replace(b"HTTP/1.1", b"RTSP/1.1"), False),
        (b"GET / RTSP/1.1\r\nA: HTTP/1.1\r\n\r\n", False),
        (b"GET /abc\r\nHost: x\r\n\r\n", False),
    ],
)
def test_what_is_one_request_is_known_from_its_bytes(packet: bytes, wanted: bool) -> None:
    assert is_one_request(packet) is wanted
