"""One server, models of four environments and of every backend: each answer is the original's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from converter.schema import dtypes
from converter.schema.manifest import Tensor, read_manifest
from converter.schema.packed_strings import pack_strings
from tests.e2e import sample_models
from tests.e2e.originals import EXAMPLES, ROWS, expected, expected_alone
from tests.environments import venvs
from tests.environments.trained import KINDS, Trained, train, write_models
from tests.support.servers.server import ROOT, Server, environment, serving

_OLD_NUMPY = '  python: "3.11"\n  requirements: [scikit-learn==1.7.*, numpy==1.26.*]\n'
_TODAY_313 = '  python: "3.13"\n  requirements: [scikit-learn, numpy>=2]\n'
_LONG_AGO = '  python: "3.10"\n'
# What schwift's own environment has, that of the pickle alone, and those that the models' configs name.
_ENVIRONMENTS = ("today311", "old311", "today313", "old13")
_NAMES = [f"{environment}_{kind}" for environment in _ENVIRONMENTS for kind in KINDS] + EXAMPLES


@dataclass(frozen=True)
class House:
    """A server whose own environment has numpy 2, and the models that it serves.

    `before` and `after` are what was installed in that environment before schwift was, and after.
    """

    server: Server
    models: Mapping[str, Trained]
    before: Mapping[str, str]
    after: Mapping[str, str]


@pytest.fixture(scope="module")
def house(
    settings: Mapping[str, str],
    trained_today: Path,
    trained_long_ago: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    own = venvs.make_venv("3.11", folder / "own", "scikit-learn", "torch==2.13.0")
    before = venvs.versions(own)
    clone = venvs.copy_clone(folder / "clone")
    venvs.install(own, str(clone))
    after = venvs.versions(own)
    assert "No broken requirements found." in venvs.run(own, "-m", "pip", "check")
    venvs.install(own, f"{clone}[onnx,numba,sklearn]")
    models = folder / "models"
    # The examples' pickles are of scikit-learn 1.7: they are served so because of what is in them.
    shutil.copytree(ROOT / "models", models, ignore=shutil.ignore_patterns("__pycache__"))
    sample_models.onnx_strings(models)
    trained = [
        *write_models(train(own, folder / "t1"), models, "today311"),
        # These tests' own environment has scikit-learn 1.7 and numpy 1.26.
        *write_models(train(Path(sys.prefix), folder / "t2"), models, "old311", _OLD_NUMPY),
        *write_models(trained_today, models, "today313", _TODAY_313),
        *write_models(trained_long_ago, models, "old13", _LONG_AGO),
        *(Trained(name, ROWS[name].tolist(), expected(name)) for name in EXAMPLES),
    ]
    # Apart from the serve, which is to be ready in a while.
    _run(own, folder, settings, "env", "build", "--models", str(models))
    with serving(models, folder / "served", python=str(own / "bin" / "python"), **settings) as server:
        yield House(server, {item.name: item for item in trained}, before, after)


def _run(prefix: Path, folder: Path, settings: Mapping[str, str], *command: str) -> None:
    done = subprocess.run(
        [str(prefix / "bin" / "python"), "-m", "schwift", *command],
        env=environment(folder, settings), cwd=folder, capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_schwift_came_to_numpy_2_and_changed_nothing(house: House) -> None:
    assert house.before["numpy"].startswith("2.") and int(house.before["scikit-learn"].split(".")[1]) >= 9
    assert {name: house.after[name] for name in house.before} == house.before


@pytest.mark.parametrize("name", _NAMES)
def test_R30_predict_answers_as_the_original(house: House, name: str) -> None:
    model = house.models[name]
    response = house.server.post("predict", name, model.features)
    assert response.status_code == 200, response.text
    assert_same(response.json()["predictions"], model.predictions)


@pytest.mark.parametrize("name", _NAMES)
def test_predict_batched_answers_as_the_original(house: House, name: str) -> None:
    model = house.models[name]
    answers = expected_alone(name) if name in EXAMPLES else model.predictions
    for row, wanted in list(zip(model.features, answers, strict=True))[:8]:
        response = house.server.post("predict_batched", name, [row])
        assert response.status_code == 200, response.text
        assert_same(response.json()["predictions"], [wanted])


@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.parametrize("client", ["http", "grpc"])
@pytest.mark.parametrize("suffix", ["", "_direct"])
def test_tritons_own_clients_get_the_same(house: House, name: str, client: str, suffix: str) -> None:
    model = house.models[name]
    entry = read_manifest(house.server.repository).model(name)
    assert entry is not None
    rows = np.array(model.features[:16])
    source, target = entry.inputs[0], entry.outputs[0]
    arrays = {source.name: encoded(rows, source)}
    if suffix and source.dtype == "string":
        names = (f"{source.name}.bytes", f"{source.name}.lengths")
        arrays = dict(zip(names, pack_strings(arrays[source.name]), strict=True))
    library: Any = tritonclient.http if client == "http" else tritonclient.grpc
    address = house.server.triton_http if client == "http" else house.server.triton_grpc
    with library.InferenceServerClient(address) as triton:
        answer = triton.infer(name + suffix, [to_triton(library, *item) for item in arrays.items()])
    if suffix and target.dtype == "string":
        lengths, raw = answer.as_numpy(f"{target.name}.lengths"), answer.as_numpy(f"{target.name}.bytes")
        ends = np.cumsum(lengths.ravel())
        said = [raw.tobytes()[end - size : end].decode() for end, size in zip(ends, lengths.ravel(), strict=True)]
        found = [[word] for word in said]
    else:
        found = answer.as_numpy(target.name)
        found = np.vectorize(bytes.decode)(found) if target.dtype == "string" else found
    assert_same(found, model.predictions[:16])


@pytest.mark.parametrize("endpoint", ["predict", "predict_batched"])
def test_strings_of_onnx_graphs_come_back(house: House, endpoint: str) -> None:
    answer = house.server.post(endpoint, "onnx_strings", {"word": [["größe"]], "flag": [[True]]})
    assert answer.json() == {"model": "onnx_strings", "predictions": {"same": [["größe"]], "negated": [[False]]}}


def encoded(rows: Any, tensor: Tensor) -> Any:
    if tensor.dtype == "string":
        return np.array([[text.encode() for text in row] for row in rows.tolist()], dtype=np.object_)
    return rows.astype(dtypes.by_name(tensor.dtype).numpy)


def to_triton(library: Any, name: str, array: Any) -> Any:
    datatype = next(dtype.triton for dtype in dtypes.DTYPES if dtype.numpy == array.dtype)
    tensor = library.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def assert_same(found: Any, wanted: list[list[Any]]) -> None:
    assert np.shape(found) == np.shape(wanted)
    if isinstance(wanted[0][0], str):
        assert np.array(found).tolist() == wanted
    else:
        np.testing.assert_allclose(np.array(found, dtype=float), np.array(wanted), rtol=1e-6, atol=1e-12)
