"""What a repository says of an environment, and where models run that have none of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from converter.environments.interpreter import own_interpreter
from converter.environments.model_environment import (
    ModelEnvironment,
    find_serving_environment,
    format_packages,
    list_used_keys,
)
from converter.errors import EnvironmentProblem
from converter.schema.settings import load_settings

KEY = "0123456789abcdef" * 2


def test_the_file_of_a_repository_is_found_by_its_key(tmp_path: Path) -> None:
    environment = ModelEnvironment(own_interpreter(), KEY, ("numpy==2.1", "trees==1.0"))
    assert environment.to_file() == f"{KEY}\nnumpy==2.1\ntrees==1.0\n".encode()
    for version, content in (("1", environment.to_file()), ("2", b"no key\n"), ("3", b"\xff")):
        (tmp_path / "m_direct" / version).mkdir(parents=True)
        (tmp_path / "m_direct" / version / "environment").write_bytes(content)
    assert list(list_used_keys(tmp_path)) == [(KEY, "m_direct")]
    assert list(list_used_keys(tmp_path / "gone")) == []


def test_models_run_in_our_own_python_unless_another_is_named(tmp_path: Path) -> None:
    assert find_serving_environment(load_settings(None)) == ModelEnvironment(own_interpreter())
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    with pytest.raises(EnvironmentProblem, match=r"/venv: numpy is not installed there, and models need it: install"):
        find_serving_environment(load_settings(None, model_env=tmp_path / "venv"))
    packages = tmp_path / "venv" / "lib" / f"python{own_interpreter().version}" / "site-packages"
    (packages / "numpy-2.1.dist-info").mkdir()
    (packages / "numpy-2.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 2.1\n")
    found = find_serving_environment(load_settings(None, model_env=tmp_path / "venv"))
    assert (found.interpreter.prefix, found.key, found.find_version("numpy")) == (tmp_path / "venv", None, "2.1")
    said = format_packages(found, ["scikit-learn", "numpy"])
    assert said == f"Python {own_interpreter().version}, numpy 2.1"
