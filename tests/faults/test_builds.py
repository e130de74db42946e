"""Builds that meet a full disk, and models whose library is gone when they are served (R17, R25)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx

from tests.e2e import sample_models
from tests.support.servers.factor_model import answer, put
from tests.support.servers.server import environment
from tests.support.servers.serving import serving

# In a mount namespace of its own: the small disk is gone with the process. As root of nothing but that namespace.
IN_A_SMALL_DISK = """
set -e
mount -t tmpfs -o size=1m none disk
schwift() { "$PYTHON" -m schwift build-repo --models models --output disk/repo; }
schwift
before=$(cd disk/repo && find . -type f | sort | xargs sha256sum)
head -c 2000000 /dev/zero > models/times/weights.bin
code=0; schwift || code=$?
after=$(cd disk/repo && find . -type f | sort | xargs sha256sum)
[ "$before" = "$after" ] && same=true || same=false
builds=$(ls -A disk/.repo.builds | tr '\\n' ' ')
rm models/times/weights.bin
echo "# changed" >> models/times/model.py
schwift
echo "{\\"code\\": $code, \\"same\\": $same, \\"builds\\": \\"$builds\\"}"
"""


def test_R25_disk_full_during_a_build_leaves_the_old_repository(tmp_path: Path) -> None:
    put(tmp_path / "models", 1)
    (tmp_path / "disk").mkdir()
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", IN_A_SMALL_DISK],
        cwd=tmp_path, env={**environment(tmp_path, {}), "PYTHON": sys.executable},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"code": 1, "same": True, "builds": "000001 lock stamps.json "}
    assert "disk/repo: the repository could not be written: No space left on device" in done.stderr
    assert "disk/repo: written, " in done.stdout.splitlines()[-2]


def test_R17_library_that_is_missing_at_serve_fails_that_model_alone(tmp_path: Path) -> None:
    models = tmp_path / "models"
    put(models, 3)
    put(models, 1, "needy", at_load="import no_such_library")
    with serving(models, tmp_path) as server:
        assert answer(server) == 3.0
        refused = server.post("predict", "needy", [[1.0, 1.0]])
        assert (refused.status_code, refused.json()["code"]) == (503, "model_unavailable")
        assert refused.headers["retry-after"].isdigit()
        health = httpx.get(f"{server.url}/health")
        assert (health.status_code, health.json()["models"]["times"]["state"]) == (503, "ready")
        assert health.json()["models"]["needy"]["reason"] == (
            "the model needs no_such_library, which is not installed in the model's environment: pip install "
            "no_such_library"
        )


def test_R17_library_that_is_missing_at_build_ends_it_with_the_remedy(tmp_path: Path) -> None:
    code = "import no_such_library\n\n\nclass Times:\n    def predict(self, X):\n        return X\n"
    sample_models.python_model(tmp_path / "models", "needy", "model:Times", code, "[-1, 2]", "float64")
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "schwift", "serve", "--port", "0"],
        cwd=tmp_path, env=environment(tmp_path, {}), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: needy/model.py:1: the model needs no_such_library, which is not installed: pip install no_such_library",
        "Nothing was written.",
    ]
