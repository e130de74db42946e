"""The launcher, which Triton starts in place of its stub: each process gets the environment of its model.

Triton knows one stub, of one Python. The launcher is a script under the stub's name: it looks at what stands beside the
model that it is to run, and becomes the stub of that environment's Python. A stub that cannot start would keep Triton
waiting for ever, so each is started dry first; where that fails, or an environment is not there, the usual stub starts,
and the runtime refuses to load the model with the reason.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from converter.schema.wire import (
    ENVIRONMENT_FILE,
    ENVIRONMENT_VARIABLE,
    MISSING_ENVIRONMENT,
    OWN_ENVIRONMENT,
    WAKE_KEY_FILE,
)

STUB = "triton_python_backend_stub"
_SCRIPT = """#!/bin/sh
# Triton's arguments: the model's entry point, in the folder of its version, and more that only the stub knows.
folder=${{1%/*}}
here={here}
kind={models}
if [ -f "$folder/{environment}" ]; then kind=own
elif [ -f "$folder/{wake_key}" ]; then kind={fronts}
elif [ "$folder" = {onnx} ]; then kind=usual
fi

# Set what the stub of an environment needs; false where that is not there, or does not start.
prepare() {{
  {{ IFS= read -r python; IFS= read -r prefix; IFS= read -r libraries; }} <"$1" || return 1
  stub=$here/stubs/$python/{stub}
  path=$prefix/bin:$PATH
  # No empty part: that would be the current folder.
  libraries=$libraries${{libraries:+${{LD_LIBRARY_PATH:+:}}}}$LD_LIBRARY_PATH
  [ -x "$prefix/bin/python3" ] || return 1
  # Without arguments it says so, and ends with 1.
  PATH=$path LD_LIBRARY_PATH=$libraries "$stub" </dev/null >/dev/null 2>&1
  [ $? = 1 ]
}}

{variable}=
launch=$here/launch/$kind
if [ $kind = own ]; then
  read -r {variable} <"$folder/{environment}"
  case ${variable} in
    {own}) kind=usual launch=$here/launch/usual ;;
    *[!0-9a-f]*) launch= ;;
    *) launch={store}/${variable}/launch ;;
  esac
fi
if ! prepare "$launch" 2>/dev/null; then
  {variable}={missing} kind=usual
  prepare "$here/launch/usual"
fi
export {variable}
export PATH=$path LD_LIBRARY_PATH=$libraries
if [ $kind != usual ]; then
  # Its Python is to see what the build saw of it.
  unset PYTHONPATH PYTHONHOME
  export PYTHONNOUSERSITE=1
fi
# Nothing is written into an environment that is not ours.
[ $kind != models ] || export PYTHONDONTWRITEBYTECODE=1
# The stub looks three times a second whether Triton is there: that may be 0.2 s late, so that many of them wake at one
# moment of an idle machine; not seconds, since by the same look Triton knows that it lives. What runs a model sets it
# back (runtime/threads.py).
{{ echo 200000000 >/proc/$$/timerslack_ns; }} 2>/dev/null
exec "$stub" "$@"
"""


@dataclass(frozen=True)
class Launch:
    """What starts the stub of an environment: its Python (`3.11`), its folder, and that of its libpython, if needed."""

    python: str
    prefix: Path
    libpython: Path | None

    def to_text(self) -> str:
        """Write it as the launcher reads it."""
        return f"{self.python}\n{self.prefix}\n{self.libpython or ''}\n"


@dataclass(frozen=True)
class Launches:
    """Where processes run if their model has no environment of its own.

    `usual` is schwift's own environment, where ONNX graphs run, `models` that of the models, `fronts` one whose numpy
    can read strings. `store` has the environments of single models.
    """

    usual: Launch
    models: Launch
    fronts: Launch
    store: Path


def write_launcher(folder: Path, stubs: Mapping[str, Path], launches: Launches, onnx_backend: Path) -> None:
    """Write the launcher into the folder of Triton's Python backend; `stubs` are by Python version."""
    for version, stub in stubs.items():
        link = folder / "stubs" / version / STUB
        link.parent.mkdir(parents=True)
        link.symlink_to(stub)
    (folder / "launch").mkdir()
    for kind in ("usual", "models", "fronts"):
        launch: Launch = getattr(launches, kind)
        (folder / "launch" / kind).write_text(launch.to_text(), encoding="utf-8")
    script = _SCRIPT.format(
        here=shlex.quote(str(folder)),
        environment=ENVIRONMENT_FILE,
        wake_key=WAKE_KEY_FILE,
        onnx=shlex.quote(str(onnx_backend)),
        stub=STUB,
        variable=ENVIRONMENT_VARIABLE,
        models=_name(launches, "models"),
        fronts=_name(launches, "fronts"),
        store=shlex.quote(str(launches.store)),
        missing=MISSING_ENVIRONMENT,
        own=OWN_ENVIRONMENT,
    )
    launcher = folder / STUB
    launcher.write_text(script, encoding="utf-8")
    launcher.chmod(0o755)


def _name(launches: Launches, kind: str) -> str:
    """Name what is like the usual one so."""
    return "usual" if getattr(launches, kind) == launches.usual else kind
