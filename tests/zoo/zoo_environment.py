"""The environment that the models of the zoo are made in and served from: this one's packages, and what it lacks."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from tests.support.servers.server import ROOT

_PACKAGES = ("lightgbm", "xgboost-cpu", "catboost", "skops", "dill", "statsmodels", "mlflow-skinny", "cloudpickle")


def make_environment() -> Path:
    """Return the venv's folder, which is made once for each list of packages."""
    here = [path for path in sys.path if path.endswith("site-packages")]
    constraints = ROOT / "constraints.txt"
    told = "\n".join((sys.version, constraints.read_text(encoding="utf-8"), *here, *_PACKAGES))
    folder = ROOT / ".zoo" / hashlib.sha256(told.encode()).hexdigest()[:12]
    if (folder / "made").exists():
        return folder
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    # Behind its own packages: pip sees what is there, and adds what is missing.
    (packages / "zoo.pth").write_text("".join(f"{path}\n" for path in here), encoding="utf-8")
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*command, "-c", str(constraints), *_PACKAGES], check=True)
    (folder / "made").touch()
    return folder
