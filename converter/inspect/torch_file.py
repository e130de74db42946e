"""What kind of torch file a model is: TorchScript runs as it is, an eager module that is trusted is compiled."""

from __future__ import annotations

import json
import os
import pickletools
import stat
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

from converter.errors import ArtifactError
from converter.inspect import probe
from converter.inspect.discover import ModelSource
from converter.inspect.pickle_trust import is_trusted
from converter.trust import pickle_reader

# What a state dict's pickle refers to; a whole module refers to its own class too.
_STATE_DICT_MODULES = ("collections", "torch._utils", "torch", "torch.storage", "torch.serialization")
_PROBE_SECONDS = 120


def compile_eager(source: ModelSource, path: Path, scratch: Path) -> Path | None:
    """Compile a trusted eager module, and return the file; None if it is TorchScript already. Raises ArtifactError."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            _check_inflated(source, path, sum(item.file_size for item in archive.infolist()))
            if (broken := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"{broken} does not fit its checksum")
            if any(name.endswith("/constants.pkl") for name in names):
                return None
            pickles = [archive.read(name) for name in names if name.endswith("/data.pkl")]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        # The latter are what a damaged header looks like: another compression, a password, a place outside the file.
        raise ArtifactError(
            f"{source.config}: {path.name} is damaged, or older than torch 1.6: save it again with "
            "torch.jit.script(model).save()"
        ) from error
    if not pickles:
        raise ArtifactError(f"{source.config}: {path.name} is not a torch file: save it with torch.jit.save()")
    if all(module in _STATE_DICT_MODULES for data in pickles for module in _list_modules(data)):
        raise ArtifactError(
            f"{source.config}: {path.name} is a state dict, which has weights and no model: load it into the "
            "model and save that with torch.jit.script(model).save(...)"
        )
    if not is_trusted(source):
        raise ArtifactError(
            f"{source.config}: {path.name} is a pickled nn.Module, and unpickling runs code: save it with "
            "torch.jit.script(model).save(...); or, if you made it, write trusted: true and let SCHWIFT_TRUST_FOLDERS "
            "name this folder"
        )
    target = scratch / f"{source.spec.name}.pt"
    examples = [
        {"name": tensor.name, "shape": [2, *(abs(size) for size in tensor.row_dims)], "dtype": tensor.dtype}
        for tensor in source.spec.input
    ]
    _run_probe(source, str(path), str(target.resolve()), str(source.folder.resolve()), json.dumps(examples))
    # It is the model's file in another form: who may not read that may not read this.
    target.chmod(stat.S_IMODE(target.stat().st_mode) & path.stat().st_mode | stat.S_IRUSR)
    return target


def _run_probe(source: ModelSource, *arguments: str) -> None:
    """Have a process of its own compile the model's file. Raises ArtifactError if it cannot."""
    name = source.spec.model_args.model_file
    python = str(source.environment.interpreter.executable) if source.environment else sys.executable
    try:
        done = subprocess.run(
            # As text, for a Python that has nothing of ours.
            [
                python,
                "-B",
                *(["-s"] if sys.flags.isolated else []),
                "-c",
                Path(probe.__file__).read_text("utf-8"),
                *arguments,
            ],
            # Modules in the current folder must not stand in for what it imports.
            cwd="/",
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            stdin=subprocess.DEVNULL,
            env=_make_environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise ArtifactError(f"{source.config}: {name} took over {_PROBE_SECONDS} s to read") from error
    try:
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise ArtifactError(
            f"{source.config}: {name} is damaged: reading it ended the process with code {done.returncode}: "
            "write the model's file again"
        ) from error
    if "error" in answer:
        raise ArtifactError(f"{source.config}: {name}: {answer['error']}")


def _make_environment() -> dict[str, str]:
    """Keep from the process what this one was isolated from (`python -I`)."""
    kept = {name: value for name, value in os.environ.items() if not (sys.flags.isolated and name.startswith("PYTHON"))}
    # TorchScript writes a module's constants in the order of a set. With -I itself, Python would not read this.
    return {**kept, "PYTHONHASHSEED": "0"}


def _check_inflated(source: ModelSource, path: Path, size: int) -> None:
    most = pickle_reader.most_inflated(path.stat().st_size)
    if size > most:
        raise ArtifactError(
            f"{source.config}: {path.name} inflates to {size} bytes, and {most} are the most for a file of its size: "
            "save the model uncompressed"
        )


def _list_modules(data: bytes) -> set[str]:
    """List the modules that a pickle names, from its opcodes: nothing runs."""
    modules: set[str] = set()
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "GLOBAL":
                modules.add(str(argument).split(" ")[0])
            elif opcode.name == "STACK_GLOBAL":
                modules.add(strings[-2] if len(strings) > 1 else "")
            elif isinstance(argument, str):
                strings.append(argument)
    except (ValueError, IndexError, EOFError):
        modules.add("")
    return modules
