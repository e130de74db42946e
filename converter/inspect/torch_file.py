"""What kind of torch file a model is: TorchScript runs as it is, an eager module that is trusted is compiled."""

from __future__ import annotations

import json
import pickletools
import stat
import zipfile
import zlib
from pathlib import Path

from converter.errors import ArtifactError
from converter.inspect import pickle_reader
from converter.inspect.discover import ModelSource
from converter.inspect.probe_process import Probe

# What a state dict's pickle refers to; a whole module refers to its own class too.
_STATE_DICT_MODULES = ("collections", "torch._utils", "torch", "torch.storage", "torch.serialization")


def compile_eager(source: ModelSource, path: Path, scratch: Path, probe: Probe) -> Path | None:
    """Compile a trusted eager module, and return the file; None if the model is TorchScript already.

    Raises ArtifactError if the file is damaged, a state dict, or not trusted.
    """
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
    if not source.spec.trusted:
        raise ArtifactError(
            f"{source.config}: {path.name} is a pickled nn.Module, and unpickling runs code: write trusted: true "
            "if you made it, or save it with torch.jit.script(model).save(...)"
        )
    target = scratch / f"{source.spec.name}.pt"
    examples = [
        {"shape": [2, *(abs(size) for size in tensor.row_dims)], "dtype": tensor.dtype} for tensor in source.spec.input
    ]
    probe(source, "torch", str(path), str(target.resolve()), str(source.folder.resolve()), json.dumps(examples))
    # It is the model's file in another form: who may not read that may not read this.
    target.chmod(stat.S_IMODE(target.stat().st_mode) & path.stat().st_mode | stat.S_IRUSR)
    return target


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
