"""The end of a socket without a lost request.

The kernel resets connections that nobody has accepted when the last copy of a listening socket is closed. A client that
is reset may have sent its request already, and then no load balancer may send that request again. So the socket first
stops taking connections, while those that it has taken are accepted, and is closed after that.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import select
import socket
import struct

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
# In a TCP header: where the flags are, and those of the packet that asks for a connection.
_FLAGS_AT = 13
_SYN, _SYN_ACK = 0x02, 0x12
# Classic BPF (linux/filter.h): load a byte, and, jump if equal, return.
_LOAD_BYTE, _AND, _JUMP_EQUAL, _RETURN = 0x30, 0x54, 0x15, 0x06
_WHOLE_PACKET = 0xFFFFFFFF


# A packet that asks for a connection is dropped; all others pass, and so do the last packets of handshakes under way.
# Each instruction has its code, how far to jump if true and if false, and its value.
_NO_SYN = (
    (_LOAD_BYTE, 0, 0, _FLAGS_AT),
    (_AND, 0, 0, _SYN_ACK),
    (_JUMP_EQUAL, 0, 1, _SYN),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, _WHOLE_PACKET),
)
_INSTRUCTIONS = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in _NO_SYN))


def take_no_more(sock: socket.socket) -> None:
    """Let no new connection into the queue of this socket, in any process that has a copy of it.

    A client that tries meanwhile is refused as soon as the socket is closed, when it asks again after a second. If the
    kernel has no such filters, nothing changes.
    """
    program = struct.pack("HP", len(_NO_SYN), ctypes.addressof(_INSTRUCTIONS))
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def take_again(sock: socket.socket) -> None:
    """Undo `take_no_more`, for a socket that outlives the process which was to end with it."""
    # There is no filter on a socket that nobody has used before.
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def has_unread(transport: asyncio.BaseTransport) -> bool:
    """Return whether something has arrived on a connection that the loop has not read."""
    sock = transport.get_extra_info("socket")
    return sock is not None and is_readable(sock.fileno())


def is_readable(fd: int) -> bool:
    """Return whether a listening socket has a connection to accept, or any other one has bytes or its end to read."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
