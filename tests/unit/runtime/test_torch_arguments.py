"""TorchScript: inputs go to the arguments of forward by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from converter.inspect.probe import compile_torch
from tests.support.models.runtime_models import make_config
from triton_repo_template.runtime.errors import LoadError
from triton_repo_template.runtime.loaders import load_predictor

LEFT, RIGHT = np.array([[5.0, 7.0]], np.float32), np.array([[1.0, 2.0]], np.float32)


class Difference(torch.nn.Module):  # type: ignore[misc]
    def forward(self, left: torch.Tensor, right: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return (left - right) * scale


class Unscriptable(torch.nn.Module):  # type: ignore[misc]
    def forward(self, left, right):  # type: ignore[no-untyped-def]
        return left - max([right, right], key=id)


class Nameless(torch.nn.Module):  # type: ignore[misc]
    def forward(self, *rows):  # type: ignore[no-untyped-def]
        return rows[0] - rows[1]


PAIR = (torch.from_numpy(LEFT), torch.from_numpy(RIGHT))


def predictor(folder: Path, module: Any, names: Sequence[str]) -> Any:
    torch.jit.save(module, folder / "m.pt")
    inputs = [(name, "float32", (2,)) for name in names]
    return load_predictor(folder, make_config(inputs, kind="torch", model_file="m.pt"))


@pytest.mark.parametrize("module", [torch.jit.script(Difference()), torch.jit.trace(Unscriptable(), PAIR)])
@pytest.mark.parametrize("names", [("left", "right"), ("right", "left")])
def test_the_configs_order_does_not_matter(tmp_path: Path, module: Any, names: Sequence[str]) -> None:
    predict = predictor(tmp_path, module, names)
    assert predict({"left": LEFT, "right": RIGHT}).tolist() == [[4, 5]]


def test_without_names_the_order_is_the_configs(tmp_path: Path) -> None:
    predict = predictor(tmp_path, torch.jit.trace(Nameless(), PAIR), ("b", "a"))
    assert predict({"a": RIGHT, "b": LEFT}).tolist() == [[4, 5]]


def test_a_single_input_may_have_any_name(tmp_path: Path) -> None:
    predict = predictor(tmp_path, torch.jit.script(torch.nn.ReLU()), ("features",))
    assert predict({"features": -LEFT}).tolist() == [[0, 0]]


@pytest.mark.parametrize("names", [("left", "rigth"), ("left", "scale"), ("left", "right", "more")])
def test_other_names_are_listed(tmp_path: Path, names: Sequence[str]) -> None:
    with pytest.raises(LoadError) as caught:
        predictor(tmp_path, torch.jit.script(Difference()), names)
    assert str(caught.value) == (
        f"[schwift:load_error] forward takes left, right, scale, and the inputs of the config are {', '.join(names)}: "
        "give each input the name of its argument"
    )


def test_a_module_that_is_traced_by_the_build_has_its_inputs_by_name_too(tmp_path: Path) -> None:
    torch.save(Unscriptable(), tmp_path / "eager.pt")
    examples = [{"name": name, "shape": [2, 2], "dtype": "float32"} for name in ("right", "left")]
    assert compile_torch(tmp_path / "eager.pt", tmp_path / "m.pt", tmp_path, examples) == {"compiled": True}
    predict = predictor(tmp_path, torch.jit.load(tmp_path / "m.pt"), ("right", "left"))
    assert predict({"left": LEFT, "right": RIGHT}).tolist() == [[4, 5]]
