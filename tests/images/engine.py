"""buildah, with a storage of its own that is removed as a folder: images without a docker engine.

All that stays is buildah's note of the blobs that it has seen, /var/lib/containers/cache.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.images import machine
from tests.support.servers.server import ROOT

DOCKERFILE = ROOT / "Dockerfile"
_BUILD_SECONDS = 1200
_STEP_SECONDS = 300
# What the layers of all images take, with room.
_MEMORY_BYTES = 14 << 30
_UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9}


@dataclass(frozen=True)
class Image:
    """A built image: its size as `docker images` counts it, its config, and where a copy of its files is."""

    name: str
    megabytes: float
    config: dict[str, Any]
    root: Path

    @property
    def environment(self) -> dict[str, str]:
        return dict(entry.split("=", 1) for entry in self.config["Env"])


class Buildah:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def base_from(self, root: Path, name: str) -> None:
        """An image of one layer with the files of `root`."""
        container = self._run("from", "scratch").strip()
        self._run("add", "--quiet", container, str(root), "/")
        self._run("commit", "--quiet", container, name)
        self._run("rm", container)

    def build(self, name: str, target: str = "", file: Path = DOCKERFILE, **arguments: str) -> Image:
        """Build one target of a Dockerfile, by default its last."""
        log = self._folder / f"{name.replace('/', '-')}.log"
        command = self._command("bud", "--isolation", "chroot", "--format", "docker", "--layers")
        command += ["--file", str(file), "--tag", name, *(("--target", target) if target else ())]
        command += machine.volumes(self._folder)
        command += [option for key, value in arguments.items() for option in ("--build-arg", f"{key}={value}")]
        with open(log, "wb") as output:
            done = subprocess.run(
                [*command, str(ROOT)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=_BUILD_SECONDS,
            )
        said = log.read_text(encoding="utf-8", errors="replace")
        assert done.returncode == 0, f"{name} was not built:\n{said[-4000:]}"
        return self.image(name)

    def image(self, name: str) -> Image:
        container = self._run("from", name).strip()
        listed = json.loads(self._run("images", "--json", name))
        number, unit = listed[0]["size"].split()
        config = json.loads(self._run("inspect", "--type", "image", name))["Docker"]["config"]
        return Image(name, float(number) * _UNITS[unit] / 1e6, config, Path(self._run("mount", container).strip()))

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(self._command(*arguments), capture_output=True, text=True, timeout=_STEP_SECONDS)
        assert done.returncode == 0, f"buildah {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def _command(self, *arguments: str) -> list[str]:
        storage = [
            "--root",
            f"{self._folder}/storage",
            "--runroot",
            f"{self._folder}/run",
            "--storage-driver",
            "overlay",
        ]
        return ["buildah", *storage, *arguments]


@contextlib.contextmanager
def workshop() -> Iterator[Path]:
    """A folder for layers and roots: gigabytes, so in memory where there is enough, and removed at once.

    Tens of thousands of files take minutes to remove from a disk that discards.
    """
    memory = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    available = 1024 * int(memory["MemAvailable"].split()[0])
    with tempfile.TemporaryDirectory(prefix="schwift-images-") as folder:
        if available > _MEMORY_BYTES:
            mount = ["-t", "tmpfs", "-o", f"size={_MEMORY_BYTES}", "tmpfs"]
        else:
            mount = ["--bind", folder]
        subprocess.run(["mount", *mount, folder], check=True)
        try:
            yield Path(folder)
        finally:
            # With all that buildah has mounted below. It fails where a process is left in a root.
            subprocess.run(["umount", "--recursive", folder], check=True)


def debian(folder: Path, *packages: str) -> Path:
    """The files of a small Debian with these packages, trimmed as the public slim images are."""
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", "bookworm", str(folder)],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        timeout=_BUILD_SECONDS,
    )
    waste = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info")
    emptied = ("var/cache/apt/archives", "var/cache/debconf", "var/lib/apt/lists", "var/log/apt")
    subprocess.run(["rm", "-rf", *(str(folder / path) for path in (*waste, *emptied))], check=True, timeout=60)
    for path in emptied:
        (folder / path / "partial").mkdir(parents=True)
    return folder
