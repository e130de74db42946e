"""`requirements`, `python`, `environment` and `accept_skew`: what each takes, and each mistake with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from converter.errors import ConfigError
from converter.schema.config_loader import load_spec
from converter.schema.model import PYTHONS, ModelSpec
from tests.support.models.model_configs import ONNX, PYTHON
from tests.support.models.sample_models import model_spec, model_yaml

# The line of the first key below them.
LINES = len(model_yaml().splitlines())


def problems_of(folder: Path, added: str, text: str = "") -> list[str]:
    path = folder / "x.yaml"
    path.write_text((text or model_yaml()) + added)
    with pytest.raises(ConfigError) as caught:
        load_spec(path, "x.yaml")
    return list(caught.value.problems)


def test_without_the_keys_a_pickle_decides() -> None:
    spec = model_spec()
    assert (spec.requirements, spec.python, spec.environment, spec.accept_skew) == (None, None, "auto", False)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (["numpy", "scikit-learn == 1.7.2"], ("numpy", "scikit-learn==1.7.2")),
        ("needs.txt", "needs.txt"),
        ("./below/needs", "below/needs"),
    ],
)
def test_requirements_are_a_list_or_a_file(written: Any, kept: Any) -> None:
    spec = model_spec(requirements=written)
    assert spec.requirements == kept
    # As the manifest has it.
    assert ModelSpec.model_validate_json(spec.model_dump_json(by_alias=True)) == spec


@pytest.mark.parametrize("version", PYTHONS)
def test_python_is_one_that_triton_has_a_stub_for(version: str) -> None:
    assert model_spec(python=version).python == version


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("3.10", 'a number in YAML, where 3.10 is 3.1: write it in quotes: "3.10"'),
        ("3.12", 'a number in YAML, where 3.10 is 3.1: write it in quotes: "3.12"'),
        ("'3.14'", "'3.14' is not served yet: use a 3.13 environment"),
        ("'3.9'", "'3.9' is not served: the oldest is 3.10"),
        ("python3", "'python3' is not one of 3.10, 3.11, 3.12, 3.13"),
    ],
)
def test_another_python_is_refused_with_the_remedy(tmp_path: Path, value: str, message: str) -> None:
    assert problems_of(tmp_path, f"  python: {value}\n") == [f"x.yaml:{LINES + 1}: model.python: {message}"]


@pytest.mark.parametrize(
    ("value", "place", "message"),
    [
        ("[numpy, -e .]", "[1]", "'-e .' has an option of pip"),
        ("[1.5]", "[0]", "1.5 is no text"),
        ("[]", "", "write a list of requirements"),
        ("{numpy: 1}", "", "write a list of requirements"),
        ("numpy==1.26", "", "'numpy==1.26' is not the name of a file beside this one: write requirements as a list"),
        ("../needs.txt", "", "'../needs.txt' must be a relative path inside the model's own folder"),
        ("requirements.lock", "", "requirements.lock is what the build writes"),
    ],
)
def test_other_requirements_are_refused_with_their_line(tmp_path: Path, value: str, place: str, message: str) -> None:
    (problem,) = problems_of(tmp_path, f"  requirements: {value}\n")
    assert problem.startswith(f"x.yaml:{LINES + 1}: model.requirements{place}: {message}")


def test_keys_that_have_no_meaning_are_said(tmp_path: Path) -> None:
    onnx = len(ONNX.splitlines()) + 1
    assert problems_of(tmp_path, "  requirements: [numpy]\n", ONNX) == [
        f"x.yaml:{onnx}: model.requirements: has no meaning for backend onnx, which runs no Python of yours: remove it"
    ]
    assert problems_of(tmp_path, '  python: "3.12"\n', ONNX)[0].startswith(f"x.yaml:{onnx}: model.python: has no")
    code = len(PYTHON.splitlines()) + 1
    assert problems_of(tmp_path, "  accept_skew: true\n", PYTHON) == [
        f"x.yaml:{code}: model.accept_skew: is for sklearn and joblib models: remove it"
    ]
    assert problems_of(tmp_path, "  requirements: [numpy]\n  environment: serving\n") == [
        f"x.yaml:{LINES + 2}: model.environment: serving is no environment of its own, which requirements asks for: "
        "remove one of the two"
    ]
