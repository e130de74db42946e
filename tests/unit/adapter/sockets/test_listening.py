"""The end of a listening socket: who is in its queue is accepted, and nobody is reset."""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket

import pytest

from adapter.sockets import listening


def test_what_the_kernel_has_taken_is_served_and_what_comes_later_is_refused_and_not_reset() -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = listener.getsockname()
        assert not listening.is_readable(listener.fileno())
        queued = stack.enter_context(socket.create_connection(address))
        queued.sendall(b"asked")

        listening.take_no_more(listener)
        late = stack.enter_context(socket.socket())
        late.settimeout(0.2)
        with pytest.raises(TimeoutError):
            late.connect(address)
        assert listening.is_readable(listener.fileno())
        accepted = stack.enter_context(listener.accept()[0])
        assert not listening.is_readable(listener.fileno())
        listener.close()

        assert accepted.recv(5) == b"asked"
        accepted.sendall(b"answered")
        assert queued.recv(8) == b"answered"
        # The kernel asks again by itself.
        with selectors.DefaultSelector() as selector:
            selector.register(late, selectors.EVENT_WRITE)
            assert [key.fileobj for key, _ in selector.select(10)] == [late]
        assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)


def test_a_socket_that_outlives_its_process_can_be_opened_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as port:
        listening.take_again(port)  # which nothing was done to
        listening.take_no_more(port)
        listening.take_again(port)
        with socket.create_connection(port.getsockname(), timeout=5) as client:
            accepted, address = port.accept()
            with accepted:
                assert address == client.getsockname()


def test_a_copy_in_another_process_takes_no_more_either() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(fileno=listener.dup().detach()) as copy:
        listening.take_no_more(listener)
        listener.close()
        with socket.socket() as late:
            late.settimeout(0.2)
            with pytest.raises(TimeoutError):
                late.connect(copy.getsockname())
