"""The services of docker-compose.yml in the roots of their images, on one loopback of their own.

In place of a docker engine: what compose says about users, mounts, capabilities, limits of shared memory,
environment and order is taken from the file and applied with Linux's own tools.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.images import compose
from tests.images.engine import Image

_ENTER = Path(__file__).with_name("enter.sh")
# Generous: it is only to end what would never come, on a machine that does much else meanwhile.
_START_SECONDS = 600
_STOP_SECONDS = 25
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass
class Running:
    """`outer` waits for the container's first process and ends with its code."""

    outer: subprocess.Popen[bytes]
    log: Path
    image: Image
    environment: dict[str, str]

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def first_pid(self) -> int | None:
        children = Path(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children").read_text(encoding="ascii").split()
        return int(children[0]) if children else None


class Pod:
    """Volumes and logs are folders below `folder`, which is the folder of the compose project too."""

    def __init__(self, folder: Path, services: Mapping[str, Any], images: Mapping[str, Image]) -> None:
        self._folder = folder
        self._services = services
        self._images = images
        self._running: dict[str, Running] = {}
        (folder / "hosts").write_text(f"127.0.0.1 localhost {' '.join(services)}\n", encoding="ascii")
        # Holds the network namespace, which has nothing but a loopback.
        self._network = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up && exec sleep infinity"], stdin=subprocess.DEVNULL
        )

    def up(self, name: str, dotenv: Mapping[str, str]) -> None:
        """Start a service after all that it depends on, as compose does."""
        if name in self._running:
            return
        service = self._services[name]
        for needed, how in service.get("depends_on", {}).items():
            self.up(needed, dotenv)
            self._wait(needed, how["condition"])
        self._running[name] = self._start(name, service, compose.environment(service, dotenv))

    def run(self, name: str, dotenv: Mapping[str, str], *command: str) -> str:
        """A service's container once more, with another command, as `docker compose run` does; what it printed."""
        service = {**self._services[name], "command": list(command)}
        self._running[f"{name} again"] = running = self._start("again", service, compose.environment(service, dotenv))
        assert running.outer.wait(_START_SECONDS) == 0, running.output
        return running.output

    def wait_healthy(self, name: str) -> None:
        self._wait(name, "service_healthy")

    def output(self, name: str) -> str:
        return self._running[name].output

    def in_network(self, *command: str) -> list[str]:
        """The command as seen from inside."""
        return ["nsenter", f"--net=/proc/{self._network.pid}/ns/net", *command]

    def listen(self, port: int) -> socket.socket:
        """A socket that the services reach on 127.0.0.1, as they would another container.

        A socket stays in the network of the thread that made it.
        """

        def listening() -> socket.socket:
            with open(f"/proc/{self._network.pid}/ns/net", "rb") as network:
                if _LIBC.setns(network.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            return socket.create_server(("127.0.0.1", port))

        with ThreadPoolExecutor(1) as elsewhere:
            return elsewhere.submit(listening).result()

    def exec(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a running container, as `docker exec` does."""
        running = self._running[name]
        inside = ["nsenter", f"--target={running.first_pid}", "--mount", "--pid", "--net"]
        inside += ["chroot", str(running.image.root), "setpriv", *_account(running.image.config["User"])]
        inside += ["env", "-i", *(f"{key}={value}" for key, value in running.environment.items()), *command]
        return subprocess.run(inside, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)

    def stop(self, name: str) -> int:
        """SIGTERM to the container's first process; its exit code."""
        running = self._running.pop(name)
        if running.outer.poll() is None and (pid := running.first_pid) is not None:
            os.kill(pid, signal.SIGTERM)
        try:
            return running.outer.wait(_STOP_SECONDS)
        finally:
            # With unshare's --kill-child the whole container goes along.
            running.outer.kill()
            running.outer.wait()

    def close(self) -> None:
        for name in reversed(list(self._running)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop(name)
        self._network.kill()
        self._network.wait()

    def _start(self, name: str, service: Mapping[str, Any], settings: Mapping[str, str]) -> Running:
        image = self._images[service["image"]]
        environment = {**image.environment, **settings}
        command = [*(image.config.get("Entrypoint") or ()), *(service.get("command") or image.config["Cmd"])]
        shm = service.get("shm_size", "64m").removesuffix("b")
        tmpfs = [_tmpfs(entry) for entry in (*service["tmpfs"], f"/dev/shm:size={shm}")]
        capabilities = ["-all", *(f"+{name.lower()}" for name in service.get("cap_add", ()))]
        variables = {
            "PATH": os.environ["PATH"],
            "ROOT": str(image.root),
            "WRITABLE": "0" if service["read_only"] else "1",
            "BINDS": "\n".join([f"{self._folder}/hosts /etc/hosts ro", *self._binds(service, image)]),
            "TMPFS": "\n".join(tmpfs),
            "ACCOUNT": service.get("user", image.config["User"]),
            "CAPS": ",".join(capabilities),
            "FOLDER": image.config["WorkingDir"],
        }
        log = self._folder / f"{name}.log"
        isolated = ["unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "bash", str(_ENTER)]
        inner = [*(f"{key}={value}" for key, value in environment.items()), *command]
        with open(log, "ab") as output:
            outer = subprocess.Popen(
                self.in_network(*isolated, *inner),
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Running(outer, log, image, environment)

    def _binds(self, service: Mapping[str, Any], image: Image) -> list[str]:
        """A new volume has the owner of the image's folder, a folder that compose makes has root."""
        lines = []
        for mount in compose.mounts(service):
            named = not mount.source.startswith((".", "/"))
            source = self._folder / ("volumes" if named else "") / mount.source
            if not source.exists():
                source.mkdir(parents=True)
                if named:
                    there = (image.root / mount.target.lstrip("/")).stat()
                    os.chown(source, there.st_uid, there.st_gid)
            lines.append(f"{source.resolve()} {mount.target} {'ro' if mount.read_only else 'rw'}")
        return lines

    def _wait(self, name: str, condition: str) -> None:
        running = self._running[name]
        if condition == "service_completed_successfully":
            assert running.outer.wait(_START_SECONDS) == 0, f"{name}:\n{running.output}"
            return
        check = running.image.config["Healthcheck"]["Test"]
        assert check[0] == "CMD", check
        deadline = time.monotonic() + _START_SECONDS
        while (done := self.exec(name, *check[1:])).returncode != 0:
            assert running.outer.poll() is None, f"{name} ended:\n{running.output}"
            assert time.monotonic() < deadline, f"{name} is not healthy: {done.stderr}\n{running.output}"
            time.sleep(0.5)


def _tmpfs(entry: str) -> str:
    """`target options`, with docker's own in front: without `exec` nothing in it can be run or loaded."""
    target, _, options = entry.partition(":")
    return f"{target} noexec,nosuid,nodev,mode=1777{',' if options else ''}{options}"


def _account(user: str) -> list[str]:
    uid, gid = user.split(":")
    return ["--reuid", uid, "--regid", gid, "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
