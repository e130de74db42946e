"""Compiles an eager torch module in a process of its own, as unpickling runs code; the answer is one line of JSON."""

from __future__ import annotations

import inspect
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any


def compile_torch(path: Path, target: Path, import_root: Path, examples: list[dict[str, Any]]) -> dict[str, Any]:
    """Turn an `nn.Module` saved whole into TorchScript: scripted, or traced on zeros of these shapes and dtypes."""
    import torch

    sys.path[:0] = [str(import_root), str(import_root.parent.parent)]
    torch.set_num_threads(1)
    module = torch.load(path, map_location="cpu", weights_only=False)
    if not isinstance(module, torch.nn.Module):
        kind = type(module).__name__
        return {"error": f"holds a {kind}, not an nn.Module: save the model with torch.jit.script(model).save()"}
    module.eval()
    try:
        compiled = torch.jit.script(module)
    except Exception:
        # Not scriptable; a trace records one run. Models that branch on their input must be scriptable.
        with torch.inference_mode():
            zeros = [torch.zeros(item["shape"], dtype=getattr(torch, item["dtype"])) for item in examples]
            names = [item["name"] for item in examples]
            if len(names) > 1 and set(names) <= set(inspect.signature(module.forward).parameters):
                # As the runtime calls it, whatever the config's order.
                compiled = torch.jit.trace(module, example_kwarg_inputs=dict(zip(names, zeros, strict=True)))
            else:
                compiled = torch.jit.trace(module, tuple(zeros))
    buffer = io.BytesIO()
    torch.jit.save(compiled, buffer)
    _write_without_debug_files(buffer, target)
    return {"compiled": True}


def _write_without_debug_files(buffer: io.BytesIO, target: Path) -> None:
    """Leave out TorchScript's debug files, which hold the source's path: the same model gives the same bytes."""
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as result:
        for item in source.infolist():
            if item.filename.endswith("/.data/serialization_id"):
                # A hash of the files, the left out ones too.
                result.writestr(zipfile.ZipInfo(item.filename), b"0" * 40)
            elif not item.filename.endswith(".debug_pkl"):
                result.writestr(zipfile.ZipInfo(item.filename), source.read(item))


def main(path: str, target: str, import_root: str, examples: str) -> dict[str, Any]:
    """Do what the arguments ask; an error is part of the answer."""
    try:
        return compile_torch(Path(path), Path(target), Path(import_root), json.loads(examples))
    except ImportError as error:
        missing = (error.name or "").split(".")[0]
        hint = "pip install 'schwift[torch]'" if missing == "torch" else f"pip install {missing}"
        return {"error": f"reading it needs the package {missing}, which is not installed: {hint}"}
    except Exception as error:
        return {"error": f"cannot be read: {type(error).__name__}: {error}"}


if __name__ == "__main__":
    answer = main(*sys.argv[1:])
    print("\n" + json.dumps(answer))
