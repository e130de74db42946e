"""A second name for the Triton models of a new build, under which they are tried while the old ones serve.

A folder of its own beside the served ones, with the same config under the other name and a link to the new version:
Triton loads that as one more model. It is of no build, and gone again when the trial is over.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from converter.schema.manifest import TRIAL_MARK, ModelEntry


@contextlib.contextmanager
def lay_out_trial_names(entries: Sequence[ModelEntry], build: Path, served: Path) -> Iterator[str]:
    """Lay out `<Triton model><suffix>` for these models meanwhile, in both builds, of which Triton may read either."""
    # New each time: a load that hangs keeps its name busy.
    suffix = f"{TRIAL_MARK}{secrets.token_hex(4)}"
    try:
        for entry in entries:
            # A packed model is tried in its host, which is told whose folder to look into.
            for name in entry.triton_models if entry.alone is None else (entry.alone,):
                config = _rename_config(build / name / "config.pbtxt", entry, suffix)
                for root in {served, build}:
                    folder = root / f"{name}{suffix}"
                    folder.mkdir()
                    (folder / "config.pbtxt").write_text(config, encoding="utf-8")
                    version = build / name / str(entry.version)
                    (folder / version.name).symlink_to(os.path.relpath(version, folder))
        yield suffix
    finally:
        for root in {served, build}:
            for folder in root.glob(f"*{suffix}"):
                shutil.rmtree(folder, ignore_errors=True)


def _rename_config(config: Path, entry: ModelEntry, suffix: str) -> str:
    """Read a config under the other name; a front calls the model under its other name too."""
    model = text_format.Parse(config.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    if model.name == entry.front:
        model.parameters["direct_model"].string_value += suffix
    model.name += suffix
    return str(text_format.MessageToString(model))
