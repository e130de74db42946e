"""The Unix socket of the user's own that `schwift reload` speaks with. converter/schema/control.py has what is said."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from adapter import errors
from adapter.lifecycle.registry_sync import RegistrySync
from adapter.reload.reloader import Reloader
from converter.errors import RepositoryError
from converter.schema import control
from converter.schema.manifest import Manifest, ModelEntry, read_manifest
from converter.schema.unix_address import address

_log = logging.getLogger("schwift.adapter")

_FOLLOW_SECONDS = 0.1
# What the other side has between two requests: it switches a link.
_REQUEST_SECONDS = 30.0
# Between two tries to end a reload that could not be ended, at first and at most.
_AGAIN_SECONDS = 2.0
_MOST_AGAIN_SECONDS = 60.0
_BACKLOG = 4


@dataclass(eq=False)
class ControlServer:
    """Answers `schwift reload`. Every worker has one; the one that leads listens, on the socket at `_path`.

    `_folders` is what is said of the served folders; `_repository` is where this process sees the repository, whose
    manifest `_read` reads.
    """

    _reloader: Reloader
    _registry_sync: RegistrySync
    _path: Path
    _repository: Path
    _folders: control.Folders
    _read: Callable[[Path], Manifest] = read_manifest
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _conversations: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    async def run(self) -> None:
        """Wait until this worker leads, end a reload that was cut off before, and listen; end when cancelled."""
        while not self._registry_sync.try_lead():
            await asyncio.sleep(_FOLLOW_SECONDS)
        if self._reloader.on_trial:
            await self._settle_alone()
        try:
            listener = _listen(self._path)
        except OSError as error:
            _log.error("%s: no reload while this runs: %s", self._path, error.strerror)
            return
        server = await asyncio.start_unix_server(self._serve, sock=listener)
        try:
            await self._settle_later()
        finally:
            self._path.unlink(missing_ok=True)
            server.close()
            for task in self._conversations:
                task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._conversations.add(task)
        conversation = _Conversation(self._reloader, self._repository, self._folders, self._read, reader, writer)
        try:
            request = await conversation.next_request()
            if request is not None:
                async with self._turn:
                    await self._converse(conversation, request)
        except Exception:
            _log.exception("a reload was cut off before it began")
        finally:
            self._conversations.discard(task)
            writer.close()

    async def _converse(self, conversation: _Conversation, request: control.ControlRequest) -> None:
        try:
            try:
                await conversation.hold(request)
            except Exception:
                # Whatever one conversation meets, the next must be possible.
                _log.exception("a reload was cut off")
            if conversation.cut_off or self._reloader.on_trial:
                await self._settle_alone()
        finally:
            self._reloader.release()

    async def _settle_later(self) -> None:
        """Try again, for ever, to end a reload that could not be ended, as when Triton is away."""
        wait = _AGAIN_SECONDS
        while True:
            await asyncio.sleep(wait)
            if not self._reloader.on_trial:
                wait = _AGAIN_SECONDS
            elif not self._turn.locked():
                wait = min(2 * wait, _MOST_AGAIN_SECONDS)
                async with self._turn:
                    await self._settle_alone()

    async def _settle_alone(self) -> None:
        """Serve what the repository on the disk holds, since nobody is there any more to say what to do."""
        try:
            await self._reloader.commit(self._read(self._repository), _log.info)
        except (errors.ReloadFailed, RepositoryError) as error:
            _log.error("what is served is not what the repository on the disk holds: %s", error)
        except Exception:
            _log.exception("what the repository on the disk holds could not be served")


@dataclass(eq=False)
class _Conversation:
    """One connection of `schwift reload`, and at most one reload."""

    _reloader: Reloader
    _repository: Path
    _folders: control.Folders
    _read: Callable[[Path], Manifest]
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    _tried: tuple[list[ModelEntry], str] | None = field(default=None, init=False)
    # It ended between the trial and the switch, before or after the repository was switched.
    cut_off: bool = field(default=False, init=False)

    async def next_request(self) -> control.ControlRequest | None:
        """Return the next request that needs a turn, once those that need none are answered; None at the end."""
        while line := await asyncio.wait_for(self._reader.readline(), _REQUEST_SECONDS):
            request = control.read_request(line)
            if not isinstance(request, control.FoldersRequest):
                return request
            self._send(self._folders)
        return None

    async def hold(self, first: control.ControlRequest) -> None:
        """Answer requests, of which this is the first, until the other side ends; give up what it only tried."""
        request: control.ControlRequest | None = first
        try:
            while request is not None:
                await self._answer(request)
                request = await self.next_request()
        finally:
            # Tried, and nobody said to switch.
            if self._tried is not None:
                self.cut_off = True
                await self._reloader.give_up(*self._tried)

    async def _answer(self, request: control.ControlRequest) -> None:
        try:
            if isinstance(request, control.ServedRequest):
                self._send(control.Served(served=self._reloader.served(), failed=tuple(self._reloader.failed())))
                return
            if isinstance(request, control.TryRequest):
                await self._try(request)
            elif isinstance(request, control.SwitchRequest) and self._tried is not None:
                tried, self._tried = self._tried, None
                manifest = self._read(self._repository)
                await self._reloader.switch(*tried, manifest)
                await self._reloader.commit(manifest, self._say)
            else:
                await self._reloader.commit(self._read(self._repository), self._say)
            self._send(control.Done())
        except (errors.ReloadFailed, RepositoryError) as error:
            self._send(control.Refusal(reason=str(error)))

    async def _try(self, request: control.TryRequest) -> None:
        # By its number: the folders above may have other names in another container.
        manifest = self._read(self._repository.resolve().parent / Path(request.build).name)
        entries = [entry for entry in manifest.models if entry.name in request.models]
        await self._reloader.stage(entries, request.suffix, self._say)
        self._tried = entries, request.suffix

    def _say(self, text: str) -> None:
        self._send(control.Progress(said=text))

    def _send(self, answer: control.Message) -> None:
        # A few short lines: nothing to wait for.
        self._writer.write(answer.line)


def _listen(path: Path) -> socket.socket:
    """Listen on a socket that only this user can connect to; raise OSError if another server does there."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address(path) as place:
            if path.is_socket():
                with contextlib.suppress(ConnectionRefusedError):
                    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                        probe.connect(place)
                    raise OSError(errno.EADDRINUSE, "another server listens there")
                # Left by one that was killed.
                path.unlink()
            sock.bind(place)
            # Before it listens, so that nobody else can be in the queue.
            os.chmod(path, 0o600)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
        return sock
    except BaseException:
        sock.close()
        raise
