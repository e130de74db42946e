"""The JSON Schema takes the configs that a build takes, and refuses those that are wrong in their form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from converter.reference.config_schema import find_text, make_schema
from converter.reference.key_texts import TEXTS
from converter.schema.model import ModelFile
from tests.bench.rig import sleeping
from tests.e2e import sample_models
from tests.support import documents
from tests.support.documents import ROOT
from tests.support.models import model_configs
from tests.support.models.sample_models import model_data

SCHEMA = make_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
TENSOR = {"shape": [-1, 4], "dtype": "float32"}


def is_valid(data: Any) -> bool:
    return bool(VALIDATOR.is_valid(data))


def is_taken(data: Any) -> bool:
    try:
        ModelFile.model_validate(data)
    except ValidationError:
        return False
    return True


def configs(folder: Path) -> Iterator[tuple[str, str]]:
    """The configs that this repository has: examples, those of the pages, and those that tests and benchmarks write."""
    sample_models.write_all(folder / "samples")
    sleeping.write(folder / "bench", 5)
    for path in [*ROOT.glob("models/*/model_config.yaml"), *folder.rglob("model_config.yaml")]:
        yield str(path), path.read_text(encoding="utf-8")
    yield from (("model_configs", text) for text in vars(model_configs).values() if str(text).startswith("model:"))
    for path in documents.PAGES:
        for block in documents.blocks(path.read_text(encoding="utf-8"), "yaml"):
            if block.startswith("model:\n"):
                yield str(path), block


def test_it_is_a_schema_and_every_config_of_this_repository_is_valid(tmp_path: Path) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    found = list(configs(tmp_path))
    assert len(found) > 18
    problems = {
        place: [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(text))] for place, text in found
    }
    assert {place: said for place, said in problems.items() if said} == {}


@pytest.mark.parametrize(
    "keys",
    [
        {}, {"input": [TENSOR]}, {"output": [{"name": "a", **TENSOR}, {"name": "b", **TENSOR}]},
        {"preferred_batch_size": 32}, {"preferred_batch_size": [4, 8]}, {"preferred_batch_size": []},
        {"version": 2.1}, {"version": "1"}, {"description": None}, {"queue": None}, {"instances": None},
        {"input": {"columns": [{"name": "a", "dtype": "int"}, {"name": "b", "dtype": "string", "nullable": True}]}},
        {"input": {"nullable": True, **TENSOR}}, {"classes": ["a", "b", "c"]}, {"classes": [0, 1.5, True]},
        {"instances": "auto"}, {"max_batch_size": 64}, {"priority": {"levels": 2}}, {"triton": {"metric_tags": {}}},
        {"queue": {"max_size": 5}}, {"endpoints": "predict"}, {"endpoints": ["predict"]}, {"non_finite": None},
        {"requirements": ["numpy"]}, {"requirements": "wanted.txt"}, {"python": "3.12"}, {"verify": False},
        {"verify": True}, {"verify": {"rtol": 1e-3}}, {"model_args": {"model_file": "m.pkl", "method": "predict"}},
        {"model_args": {"model_file": "sub/m.pkl", "device": "CPU"}}, {"input": {"shape": [-1], "dtype": "integer"}},
        {"backend": "python", "model_args": {"class": "a.b:C", "kwargs": {"x": [1]}}},
    ],
)  # fmt: skip
def test_every_form_that_a_config_may_have_is_valid(keys: dict[str, Any]) -> None:
    data = {"model": {**model_data()["model"], **keys}}
    assert is_taken(data)
    assert is_valid(data), [error.message for error in VALIDATOR.iter_errors(data)]


@pytest.mark.parametrize(
    "keys",
    [
        {"preferd_batch_size": 4}, {"name": "a/b"}, {"name": 5}, {"name": None}, {"backend": "keras"}, {"input": []},
        {"input": {**TENSOR, "shape": [4]}}, {"input": {**TENSOR, "shape": []}},
        {"input": {**TENSOR, "shape": [-1, 0]}},
        {"input": {**TENSOR, "dtype": "float33"}}, {"input": {"shape": [-1]}}, {"input": {**TENSOR, "size": 4}},
        {"preferred_batch_size": 0}, {"rush_batch_size": -5}, {"instances": 0}, {"endpoints": []},
        {"endpoints": "explain"}, {"non_finite": "ignore"}, {"requirements": []}, {"python": 3.12}, {"python": "3.9"},
        {"environment": "none"}, {"verify": "yes"}, {"verify": {"rtol": 2}}, {"queue": {"max_size": 0}},
        {"instances": "all"}, {"priority": 3}, {"priority": {"levels": 1}}, {"decoupled": True}, {"triton": []},
        {"model_args": {}}, {"model_args": None}, {"model_args": {"model_file": "/etc/m.pkl"}},
        {"model_args": {"model_file": "../m.pkl"}}, {"model_args": {"model_file": "m.pkl", "method": "fit"}},
        {"model_args": {"model_file": "m.pkl", "device": "cuda"}}, {"backend": "python"},
        {"model_args": {"class": "a:B"}}, {"backend": "python", "model_args": {"class": "a.b.C"}},
    ],
)  # fmt: skip
def test_what_a_build_refuses_by_its_form_is_not_valid(keys: dict[str, Any]) -> None:
    data = {"model": {**model_data()["model"], **keys}}
    assert not is_taken(data)
    assert not is_valid(data)


@pytest.mark.parametrize("data", [None, {}, {"model": None}, {"model": {}}, {**model_data(), "more": 1}])
def test_what_is_no_config_at_all_is_not_valid(data: Any) -> None:
    assert not is_valid(data)


def test_every_key_says_what_it_means() -> None:
    for kind in TEXTS:
        keys = {field.alias or name for name, field in kind.model_fields.items()}
        assert set(TEXTS[kind]) <= keys
        assert {key for key in keys if not find_text(kind, key).means} == set()
