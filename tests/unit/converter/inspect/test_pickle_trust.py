"""A model's pickle is built only if it runs nothing but what is known, or the operator says so (A21)."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from converter.errors import ArtifactError, ConfigError
from converter.schema.settings import load_settings
from converter.trust.operator_trust import OperatorTrust, read_trust
from tests.support.attacks import bad_pickles, pickle_calls
from tests.support.models.environments import inspect_whole
from tests.support.models.repositories import build
from tests.support.models.sample_models import add_model, add_source, model_yaml, options_of

OWN = b"\x80\x02cown_steps\nStep\n)\x81."
STEPS = b"class Step: ...\n"


def notes_of(root: Path, files: dict[str, bytes], settings: dict[str, Any] | None = None, **keys: Any) -> str:
    config = model_yaml("joblib", model_args={"model_file": "m.joblib"}, **keys)
    source = add_source(root / "models", "m", config, files)
    return "\n".join(inspect_whole(source, root, environments="off", **(settings or {})).notes)


def refusal_of(root: Path, content: bytes, settings: dict[str, Any] | None = None, **keys: Any) -> str:
    with pytest.raises(ArtifactError) as caught:
        notes_of(root, {"m.joblib": content}, settings, **keys)
    (problem,) = caught.value.problems
    assert str(root) not in problem
    return problem


@pytest.mark.parametrize("shape", ["protocol_5", "zlib", "lz4", "nested_in_a_model", "behind_an_array"])
def test_A21_build_refuses_a_payload_and_runs_nothing(tmp_path: Path, shape: str) -> None:
    canary = tmp_path / "canary"
    add_model(tmp_path / "models", "m", model_yaml(), {"m.joblib": bad_pickles.shapes(canary)[shape]})
    with pytest.raises(
        ArtifactError, match=r"m\.joblib is refused, since loading it runs more than a model needs: it "
    ):
        build(tmp_path)
    assert not canary.exists()
    assert not (tmp_path / "repo").exists()


def test_refusal_names_the_import_and_the_line_to_add(tmp_path: Path) -> None:
    problem = refusal_of(tmp_path, b"\x80\x02ccompany.steps\nStep\n)\x81.")
    assert problem == (
        "models/m/model_config.yaml: m.joblib is refused, since loading it runs more than a model needs: it makes a "
        "company.steps.Step; if you trust them, set SCHWIFT_TRUST_IMPORTS=company.steps:Step, or let it in as code, "
        "with SCHWIFT_TRUST=any, or with trusted: true in one of SCHWIFT_TRUST_FOLDERS"
    )


def test_no_line_is_proposed_for_what_no_model_needs(tmp_path: Path) -> None:
    problem = refusal_of(tmp_path, pickle_calls.calls(tmp_path / "canary")["os:system"])
    assert "it calls os.system" in problem
    assert "SCHWIFT_TRUST_IMPORTS" not in problem


def test_functions_in_the_file_are_told_as_such(tmp_path: Path) -> None:
    problem = refusal_of(tmp_path, pickle_calls.calls(tmp_path)["cloudpickle.cloudpickle:_make_function"])
    assert "it was saved by cloudpickle" in problem
    assert all(way in problem for way in ("SCHWIFT_TRUST=any", "trusted: true", "backend: python", "ONNX"))


def test_a_plain_model_of_dill_is_not_said_to_have_code_in_it(tmp_path: Path) -> None:
    problem = refusal_of(tmp_path, b"\x80\x02cdill._dill\n_create_array\n(c__builtin__\nlist\n)tR.")
    assert "it was saved by dill: save the model with joblib; or let it in" in problem
    code = b"\x80\x02cdill._dill\n_create_function\n(c__builtin__\n__main__\ntR."
    assert "it was saved by dill and has functions in it as code" in refusal_of(tmp_path, code)


def test_estimator_can_be_converted(tmp_path: Path) -> None:
    content = pickle.dumps(["sklearn.base"])[:-1] + b"csklearn.base\nNotThere\n)\x81a."
    assert "convert the model to ONNX (skl2onnx" in refusal_of(tmp_path, content)


def test_module_beside_is_let_in_and_named(tmp_path: Path) -> None:
    files = {"m.joblib": OWN, "own_steps.py": STEPS}
    assert (
        notes_of(tmp_path, files)
        == "models/m/model_config.yaml: m.joblib runs code of own_steps.py, beside it: read it"
    )


def test_module_beside_goes_by_the_name_of_its_folder_too(tmp_path: Path) -> None:
    files = {"m.joblib": OWN.replace(b"own_steps", b"models.m.own_steps"), "own_steps.py": STEPS}
    assert "own_steps.py" in notes_of(tmp_path, files)


@pytest.mark.parametrize("name", ["os", "numpy", "pytest", "distutils"])
def test_A21_module_beside_does_not_stand_in_for_another(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match=f"it calls {name}.Step"):
        notes_of(tmp_path, {"m.joblib": f"\x80\x02c{name}\nStep\n)R.".encode("latin1"), f"{name}.py": STEPS})


def test_trust_in_the_config_counts_in_the_operators_folders_alone(tmp_path: Path) -> None:
    bad = pickle_calls.calls(tmp_path / "canary")["builtins:open"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert "is refused" in refusal_of(tmp_path, bad, trusted=True)
    assert "is refused" in refusal_of(tmp_path, bad, {"trust_folders": str(elsewhere)}, trusted=True)
    assert "is refused" in refusal_of(tmp_path, bad, {"trust_folders": str(tmp_path)})
    for settings in ({"trust_folders": f"{elsewhere}:{tmp_path}", "trusted": True}, {"trust": "any"}):
        keys = {"trusted": settings.pop("trusted", False)}
        assert notes_of(tmp_path, {"m.joblib": bad}, settings, **keys) == ""
    assert not (tmp_path / "canary").exists()


def test_build_takes_what_the_operator_allows(tmp_path: Path) -> None:
    add_model(tmp_path / "models", "m", model_yaml(), {"m.joblib": OWN, "own_steps.py": STEPS})
    plan = build(tmp_path, options=options_of(trust_imports="own_steps:Step"))
    assert not [note for note in plan.notes if "read it" in note]


@pytest.mark.parametrize("imports", ["os", "a b:c", "module:", ":name"])
def test_import_of_no_form_is_a_mistake_in_the_settings(imports: str) -> None:
    with pytest.raises(ConfigError, match="SCHWIFT_TRUST_IMPORTS"):
        read_trust(load_settings(None, trust_imports=imports))


def test_folder_that_is_not_there_is_a_mistake_in_the_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SCHWIFT_TRUST_FOLDERS"):
        read_trust(load_settings(None, trust_folders=str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("known", "module", "name", "allows"),
    [
        ("a.b:C", "a.b", "C", True),
        ("a.b.C", "a.b", "C", True),
        ("a.*", "a.b", "C", True),
        ("a.b.*", "a.b", "C", True),
        ("a.*", "ab", "C", False),
        ("a.*", "a.b", "os.system", False),
        ("a.b:C", "a.b", "D", False),
        ("a.b.c.*", "a.b", "C", False),
    ],
)
def test_imports_are_exact_names_or_whole_modules(known: str, module: str, name: str, allows: bool) -> None:
    assert OperatorTrust(imports=(known,)).allows(module, name) is allows


@pytest.mark.parametrize(
    ("content", "settings", "keys", "said"),
    [
        (pickle.dumps("a text"), {}, {}, None),
        # Whatever the operator says, it goes by what the lists have.
        (pickle.dumps("a text"), {"trust": "any"}, {}, None),
        (pickle.dumps("a text"), {}, {"trusted": True}, "trusted: true lets any code in"),
        (
            b"\x80\x02cjson.decoder\nJSONDecoder\n)\x81.",
            {"trust_imports": "json.decoder:JSONDecoder"},
            {},
            "its pickle runs more than known libraries: json.decoder.JSONDecoder",
        ),
        (OWN, {}, {}, "its pickle runs more than known libraries: own_steps.Step"),
    ],
)
def test_what_a_pickle_runs_beyond_known_libraries_is_told(
    tmp_path: Path, content: bytes, settings: dict[str, Any], keys: dict[str, Any], said: str | None
) -> None:
    config = model_yaml("joblib", **keys)
    source = add_source(tmp_path / "models", "m", config, {"m.joblib": content, "own_steps.py": STEPS})
    assert inspect_whole(source, tmp_path, environments="off", **settings).own_code == said
