"""The socket that `schwift reload` speaks to: whose it is, what it answers, and what becomes of a talk cut short."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from adapter.errors import ModelUnavailable
from adapter.reload.control_server import ControlServer
from adapter.workers.shared_snapshot import SharedSnapshot
from converter.errors import NothingServed, ReloadError
from converter.live_switch.control_client import ControlClient, connect
from converter.live_switch.reload_command import follow_server
from converter.schema.control import Folders, Served
from converter.schema.manifest import FILENAME, Manifest
from converter.schema.settings import load_settings
from tests.support.fakes.entries import make_manifest
from tests.support.lifecycle.reconcilers import make_sync
from tests.support.lifecycle.reload_bench import NEXT, Bench, version

# One of the client's methods.
Request = Callable[[ControlClient], object]

SERVED, SWITCH, SETTLE = ControlClient.served, ControlClient.switch, ControlClient.settle

OLD = make_manifest(version("a", 1), version("b", 1))


class Place:
    """Builds 000001 (old) and 000002 (new), of which the first is served, in a folder as deep as users have."""

    def __init__(self, root: Path) -> None:
        self.folder = root / ("deep" * 20) / ("down" * 20)
        self.builds = self.folder / ".repo.builds"
        self.link = self.folder / "repo"
        self.socket = self.folder / ".repo.sock"
        self.folders = Folders(
            models=root / "models", repository=self.link, model_env=root / "venv", cache=root / "cache"
        )
        for name, manifest in (("000001", OLD), ("000002", NEXT)):
            self.write(name, manifest)
        self.link.symlink_to(".repo.builds/000001")

    def write(self, name: str, manifest: Manifest) -> None:
        (self.builds / name).mkdir(parents=True)
        (self.builds / name / FILENAME).write_bytes(manifest.to_json())

    def switch(self, name: str) -> None:
        self.link.unlink()
        self.link.symlink_to(f".repo.builds/{name}")


def with_control(
    root: Path, test: Callable[[Place, Bench, Callable[..., Any]], Awaitable[None]], folders: Folders | None = None
) -> None:
    """Run a test beside a listening control; the last argument asks it over one connection, in a thread."""

    async def main() -> None:
        place, bench = Place(root), Bench()
        control = ControlServer(
            bench.reloader, make_sync(bench.registry), place.socket, place.link, folders or place.folders
        )
        task = asyncio.create_task(control.run())
        # It binds in its first step; the socket of one that was killed may be there before.
        await asyncio.sleep(0)
        while not place.socket.exists():
            await asyncio.sleep(0)

        async def talk(*requests: Request, between: Callable[[int], None] = lambda i: None) -> list[Any]:
            return await asyncio.to_thread(_talk, place, requests, between)

        try:
            await asyncio.wait_for(test(place, bench, talk), 20)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        assert not place.socket.exists()

    asyncio.run(main())


def _talk(place: Place, requests: tuple[Request, ...], between: Callable[[int], None]) -> list[Any]:
    """What each request was answered, or its refusal; then the connection ends."""
    answers: list[Any] = []
    with connect(load_settings(None, repository=place.link)) as control:
        for i, request in enumerate(requests):
            try:
                answers.append(request(control))
            except ReloadError as error:
                answers.append(str(error))
            between(i)
    return answers


def try_a(control: ControlClient) -> None:
    control.try_build("000002", ["a"], "~t")


def test_socket_is_the_users_own_and_gone_in_the_end(tmp_path: Path) -> None:
    async def test(place: Place, bench: Bench, talk: Callable[..., Any]) -> None:
        bench.registry.models["b"].status.adopt("failed")
        assert (await talk(SERVED))[0].failed == ("b",)
        bench.registry.models["b"].status.adopt("ready")
        assert len(os.fsencode(place.socket)) > 108
        assert stat.S_IMODE(place.socket.stat().st_mode) == 0o600
        assert await talk(SERVED) == [Served(served={"a": 1, "b": 1}, failed=())]

    with_control(tmp_path, test)


def test_reload_over_the_socket(tmp_path: Path) -> None:
    async def test(place: Place, bench: Bench, talk: Callable[..., Any]) -> None:
        answers = await talk(try_a, SWITCH, between=lambda i: place.switch("000002") if i == 0 else None)
        assert answers == [None, None]
        assert bench.reloader.served() == {"a": 2, "b": 1}
        assert not bench.reloader.on_trial

    with_control(tmp_path, test)


def test_folders_are_said_while_another_reload_is_under_way(tmp_path: Path) -> None:
    async def test(place: Place, bench: Bench, talk: Callable[..., Any]) -> None:
        heard: list[Any] = []

        def between(i: int) -> None:
            heard.extend(_talk(place, (ControlClient.folders,) * 2, lambda i: None))

        await talk(try_a, between=between)
        assert heard == [place.folders] * 2

    with_control(tmp_path, test)


def test_reload_follows_the_servers_folders_and_its_own_options(tmp_path: Path) -> None:
    async def test(place: Place, bench: Bench, talk: Callable[..., Any]) -> None:
        mine = load_settings(None, control_socket=place.socket)
        followed = await asyncio.to_thread(follow_server, mine)
        assert (followed.model_directory, followed.repository) == (place.folders.models, place.link)
        assert (followed.model_env, followed.cache) == (place.folders.model_env, place.folders.cache)
        assert followed.control_path == place.socket
        followed = await asyncio.to_thread(follow_server, mine, tmp_path / "mine", tmp_path / "other")
        assert (followed.model_directory, followed.repository) == (tmp_path / "mine", tmp_path / "other")
        assert followed.control_path == place.socket

    with_control(tmp_path, test)


def test_folders_that_a_server_does_not_say_are_not_followed(tmp_path: Path) -> None:
    """As one in another container, or one of an earlier release, which answers without them."""

    async def test(place: Place, bench: Bench, talk: Callable[..., Any]) -> None:
        mine = load_settings(None, repository=place.link)
        followed = await asyncio.to_thread(follow_server, mine)
        assert (followed.model_directory, followed.repository) == (mine.model_directory, place.link)

    with_control(tmp_path, test, Folders())


def test_trial_that_nobody_switches_to_is_unloaded(tmp_path: Path) -> None:
    async def test(place: Place, bench: Bench, talk: Callable[..., Any]) -> None:
        assert await talk(try_a) == [None]
        while len(bench.backend.unloads) < 2:
            await asyncio.sleep(0)
        assert sorted(bench.backend.unloads) == ["a_direct~t", "a~t"]
        assert bench.reloader.served() == {"a": 1, "b": 1}

    with_control(tmp_path, test)


def test_reload_that_is_cut_off_after_the_switch_on_the_disk_is_ended(tmp_path: Path) -> None:
    async def test(place: Place, bench: Bench, talk: Callable[..., Any]) -> None:
        assert await talk(try_a, between=lambda _: place.switch("000002")) == [None]
        while bench.reloader.served() != {"a": 2, "b": 1}:
            await asyncio.sleep(0)
        assert bench.directs()["a"] == "a_direct"

    with_control(tmp_path, test)


def test_refusal_says_why_and_settle_goes_back(tmp_path: Path) -> None:
    async def test(place: Place, bench: Bench, talk: Callable[..., Any]) -> None:
        bench.backend.load_errors["a_direct"] = ModelUnavailable("no", "[schwift:load_error] it needs foo\n")

        def between(i: int) -> None:
            place.switch("000002" if i == 0 else "000001")
            if i == 1:
                bench.backend.load_errors.clear()

        answers = await talk(try_a, SWITCH, SETTLE, between=between)
        assert answers == [None, "a: the new version does not load: it needs foo", None]
        assert bench.directs()["a"] == "a_direct"
        assert bench.reloader.served() == {"a": 1, "b": 1}

    with_control(tmp_path, test)


def test_reload_that_is_cut_off_between_ends_with_what_the_disk_has(tmp_path: Path) -> None:
    async def test(place: Place, bench: Bench, talk: Callable[..., Any]) -> None:
        bench.backend.load_errors["a_direct"] = ModelUnavailable("no", "")

        def between(i: int) -> None:
            if i == 0:
                place.switch("000002")
            else:
                bench.backend.load_errors.clear()

        await talk(try_a, SWITCH, between=between)
        while bench.reloader.on_trial:
            await asyncio.sleep(0)
        assert (bench.directs()["a"], bench.reloader.served()) == ("a_direct", {"a": 2, "b": 1})

    with_control(tmp_path, test)


@pytest.mark.parametrize(
    "line", [b"\n", b"{}\n", b"[]\n", b'{"do": "try"}\n', b'{"do": "dance"}\n', b"x" * 100_000 + b"\n", b"\xff\n"]
)
def test_nonsense_ends_the_connection_and_not_the_control(tmp_path: Path, line: bytes) -> None:
    async def test(place: Place, bench: Bench, talk: Callable[..., Any]) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=_plain(place.socket))
        writer.write(line)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        assert await talk(SERVED) == [Served(served={"a": 1, "b": 1}, failed=())]

    with_control(tmp_path, test)


def _plain(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(path.parent, os.O_PATH)
    sock.connect(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)
    return sock


def test_socket_of_a_killed_server_is_replaced_and_a_living_ones_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(place: Place, bench: Bench, talk: Callable[..., Any]) -> None:
        other = ControlServer(bench.reloader, make_sync(bench.registry), place.socket, place.link, place.folders)
        await other.run()
        assert "another server listens there" in caplog.text
        assert await talk(SERVED) == [Served(served={"a": 1, "b": 1}, failed=())]

    (tmp_path / ("deep" * 20) / ("down" * 20)).mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
        folder = os.open(tmp_path / ("deep" * 20) / ("down" * 20), os.O_PATH)
        killed.bind(f"/proc/self/fd/{folder}/.repo.sock")
        os.close(folder)
    place = load_settings(None, repository=tmp_path / ("deep" * 20) / ("down" * 20) / "repo")
    with pytest.raises(NothingServed, match="Connection refused"), connect(place):
        pass
    with_control(tmp_path, test)


def test_without_a_server_the_remedy_is_said(tmp_path: Path) -> None:
    for repository in (tmp_path / "repo", tmp_path / "no" / "folder" / "repo"):
        with pytest.raises(NothingServed) as caught, connect(load_settings(None, repository=repository)):
            pass
        assert str(caught.value) == (
            f"nothing is served here ({repository.with_name('.repo.sock')}: No such file or directory): "
            "run this in the folder where `schwift serve` runs, or start it"
        )
        assert caught.value.exit_code == 1


def test_worker_that_takes_the_lead_ends_what_the_one_before_it_began(tmp_path: Path) -> None:
    async def main() -> None:
        place, bench = Place(tmp_path), Bench()
        place.switch("000002")
        before, snapshot = Bench().registry, SharedSnapshot()
        before.replace([version("a", 2).on_trial("~t")])
        make_sync(before, snapshot).publish()
        registry_sync = make_sync(bench.registry, snapshot)
        control = ControlServer(bench.reloader, registry_sync, place.socket, place.link, place.folders)
        task = asyncio.create_task(control.run())
        # It binds in its first step; the socket of one that was killed may be there before.
        await asyncio.sleep(0)
        while not place.socket.exists():
            await asyncio.sleep(0)
        assert (bench.directs()["a"], bench.reloader.served()) == ("a_direct", {"a": 2, "b": 1})
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(main(), 20))


def test_requests_are_lines_of_json(tmp_path: Path) -> None:
    """The form that other releases understand too."""

    async def test(place: Place, bench: Bench, talk: Callable[..., Any]) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=_plain(place.socket))
        writer.write(b'{"do": "try", "build": "000002", "models": ["a"], "suffix": "~t", "later": 1}\n')
        said = json.loads(await reader.readline())
        assert said["said"].startswith("a: version 2 loaded on trial in ")
        assert await reader.readline() == b'{"ok": true}\n'
        writer.write(b'{"do": "served"}\n')
        assert await reader.readline() == b'{"ok": true, "served": {"a": 1, "b": 1}, "failed": []}\n'
        writer.close()

    with_control(tmp_path, test)
