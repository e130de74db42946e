"""What the runtime reads of config.pbtxt, and how many threads it lets a model have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from converter.schema import dtypes
from tests.support.models.runtime_models import config_json, init_args, make_config
from triton_repo_template.runtime.config import NUMPY_OF, TensorConfig
from triton_repo_template.runtime.errors import LoadError
from triton_repo_template.runtime.front import TritonPythonModel as FrontModel
from triton_repo_template.runtime.model import TritonPythonModel as DirectModel
from triton_repo_template.runtime.threads import (
    available_cores,
    limit_environment,
    set_precise_timers,
    threads_per_instance,
)


def test_the_table_of_dtypes_is_the_converters() -> None:
    assert {dtype.config: dtype.numpy for dtype in dtypes.DTYPES} == NUMPY_OF


def test_a_config_is_read() -> None:
    config = make_config([("x", "int8", (2, -1))], [("y", "object", ()), ("z", "bool", (1,))], "a.onnx", kind="torch")
    assert config.inputs == (TensorConfig("x", "int8", (2, -1)),)
    assert config.outputs == (TensorConfig("y", "object", ()), TensorConfig("z", "bool", (1,)))
    assert config.default_model_filename == "a.onnx"
    assert config.parameters["kind"] == "torch"


@pytest.mark.parametrize("runtime", [FrontModel, DirectModel])
def test_a_config_that_the_build_did_not_write_is_a_sentence(runtime: type[Any], tmp_path: Path) -> None:
    """As Triton hands over one that came with the load in place of config.pbtxt."""
    config = json.loads(config_json())
    del config["parameters"]
    with pytest.raises(LoadError, match=r"no parameter \w+, so it is not .* load the model without another config$"):
        runtime().initialize(init_args(tmp_path, json.dumps(config)))


@pytest.mark.parametrize(
    ("instances", "workers", "cores", "threads"),
    [(1, 4, 8, 4), (1, 8, 4, 4), (2, 4, 8, 2), (3, 4, 8, 1), (8, 4, 4, 1), (1, 1, 64, 1), (0, 4, 4, 4)],
)
def test_instances_times_threads_stay_within_workers_and_cores(
    instances: int, workers: int, cores: int, threads: int
) -> None:
    assert threads_per_instance(instances, workers, cores) == threads


def test_a_containers_quota_cuts_the_cores(tmp_path: Path) -> None:
    mask = len(os.sched_getaffinity(0))
    quota = tmp_path / "cpu.max"
    for text, cores in [
        ("max 100000\n", mask),
        ("100000 100000\n", 1),
        ("50000 100000\n", 1),
        ("199999 100000\n", 1),
        (f"{100_000 * (mask + 5)} 100000\n", mask),
        ("", mask),
    ]:
        quota.write_text(text)
        assert available_cores(str(quota)) == cores
    assert available_cores(str(tmp_path / "absent")) == mask


def test_the_environment_is_set_for_libraries_to_come() -> None:
    environment = {"OMP_NUM_THREADS": "64", "OTHER": "1"}
    limit_environment(3, environment)
    assert environment == {
        "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3", "MKL_NUM_THREADS": "3", "NUMBA_NUM_THREADS": "3",
        "LOKY_MAX_CPU_COUNT": "3", "OTHER": "1",
    }  # fmt: skip


_LIMITED = """
import numba, numpy, threadpoolctl, torch
from triton_repo_template.runtime.threads import limit_loaded

limit_loaded(1)
pools = {pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
print(torch.get_num_threads(), numba.get_num_threads(), pools)
"""


def test_libraries_that_are_there_already_are_limited() -> None:
    done = subprocess.run([sys.executable, "-c", _LIMITED], capture_output=True, text=True, check=True)
    assert done.stdout == "1 1 {1}\n"


_WITHOUT = """
import sys, torch
sys.modules["threadpoolctl"] = None
from triton_repo_template.runtime.threads import limit_loaded

limit_loaded(1)
print(torch.get_num_threads())
"""


def test_without_threadpoolctl_the_rest_is_limited() -> None:
    done = subprocess.run([sys.executable, "-c", _WITHOUT], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_what_runs_a_model_wakes_in_time_whatever_the_launcher_has_set() -> None:
    """In a process of its own, as the launcher sets it: before the stub becomes that process."""
    code = (
        "import threading, pathlib; from triton_repo_template.runtime.threads import set_precise_timers\n"
        "read = lambda: print(pathlib.Path('/proc/self/timerslack_ns').read_text().strip())\n"
        "read(); set_precise_timers(); read()"
    )
    before = Path("/proc/self/timerslack_ns").read_text(encoding="ascii").strip()
    script = 'echo 200000000 >/proc/$$/timerslack_ns; exec "$0" -c "$1"'
    command = ["/bin/sh", "-c", script, sys.executable, code]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert said == ["200000000", before]
    set_precise_timers(Path("/nowhere/timerslack_ns"))
