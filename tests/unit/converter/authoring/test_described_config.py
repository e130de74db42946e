"""The text of a config: YAML that means what was learnt."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from converter.authoring.described_config import ConfigDraft, quote, write_text


@pytest.mark.parametrize(
    "value",
    ["plain", "two words", "no", "null", "1.5", "é", 'a "quote"', "a: b", "# c", "-", "", 1, 1.5, True, None,
     [1, "two words", "x"], {"a b": [1]}, "x\ny"],
)  # fmt: skip
def test_a_value_is_read_as_it_was_written(value: Any) -> None:
    assert yaml.safe_load(f"key: {quote(value)}")["key"] == value


def draft(**changes: Any) -> ConfigDraft:
    values: dict[str, Any] = {
        "name": "m",
        "backend": "sklearn",
        "origin": "a pickle",
        "args": {"model_file": "m.joblib", "method": "predict"},
        "inputs": [{"shape": [4], "dtype": "float64", "from": "n_features_in_ = 4"}],
        "outputs": [{"name": None, "shape": [1], "dtype": "int64", "from": "what predict answered"}],
    }
    return ConfigDraft(**{**values, **changes})


def test_each_value_has_its_origin_beside_it() -> None:
    lines = write_text(draft(), "Written by a test.").splitlines()
    assert lines[0] == "# Written by a test."
    assert "    shape: [-1, 4]                      # n_features_in_ = 4" in lines
    assert "    shape: [-1, 1]                      # what predict answered" in lines


def test_several_tensors_are_a_list_with_names() -> None:
    tensors = [{"name": name, "shape": [2], "dtype": "float32"} for name in ("left", "right")]
    model = yaml.safe_load(write_text(draft(inputs=tensors), "head"))["model"]
    assert [(item["name"], item["shape"]) for item in model["input"]] == [("left", [-1, 2]), ("right", [-1, 2])]


def test_columns_stand_in_the_place_of_a_shape() -> None:
    columns = [{"name": "age", "dtype": "float64", "nullable": True}, {"name": "a b", "dtype": "string"}]
    model = yaml.safe_load(write_text(draft(inputs=[{"columns": columns}]), "head"))["model"]
    assert model["input"] == {"columns": columns}
