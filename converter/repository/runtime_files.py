"""Where triton_repo_template is installed, and the files that go beside each Triton model."""

from __future__ import annotations

from pathlib import Path

import triton_repo_template

TEMPLATE_ROOT = Path(triton_repo_template.__file__).parent
# The package's name inside a repository; here it is triton_repo_template.runtime.
RUNTIME_PACKAGE = "schwift_runtime"

# Its ways to import no more of a model's libraries than is used.
LIBRARIES = TEMPLATE_ROOT / "runtime" / "libraries"


def list_runtime_files() -> dict[str, Path]:
    """List every file of the runtime, by its path beside a model.py."""
    folder = TEMPLATE_ROOT / "runtime"
    return {f"{RUNTIME_PACKAGE}/{path.relative_to(folder)}": path for path in sorted(folder.rglob("*.py"))}


def find_entry_point(kind: str) -> Path:
    """Find the model.py of a `front`, a `model`, a `host` or a `host_front`; none holds logic."""
    return TEMPLATE_ROOT / kind / "model.py"
