"""The V2 protocol on models that share a process, and on models that sleep, over HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from tests.support.servers import factor_model, packed_models
from tests.support.servers.asking import health, metric
from tests.support.servers.packed_models import PACKED
from tests.support.servers.ports import free_port
from tests.support.servers.server import Server, wait_for
from tests.support.servers.serving import serving

MODULES: dict[str, Any] = {"http": triton_http, "grpc": triton_grpc}
WAYS = tuple(MODULES)
ENDPOINTS = {"http": "v2", "grpc": "v2_grpc"}
# Factors of models that are asked one way each: a model is woken by one request alone.
LAZY = {"http": 2.0, "grpc": 3.0}
PACKED_LAZY = {"http": 5.0, "grpc": 7.0}
AWAKE = {"times": 11.0, "other": 13.0}
ROWS = np.array([[1.0, 2.0], [3.0, 4.0]])


@dataclass(frozen=True)
class Asker:
    """A server, and clients of it: one for each thread, since none of tritonclient's for HTTP may be shared."""

    server: Server
    addresses: dict[str, str]

    @contextmanager
    def client(self, way: str) -> Iterator[Any]:
        with MODULES[way].InferenceServerClient(self.addresses[way]) as made:
            yield made

    def infer(self, way: str, model: str, array: Any) -> Any:
        with self.client(way) as client:
            about = client.get_model_metadata(model, **({"as_json": True} if way == "grpc" else {}))
            (given,), (answered,) = about["inputs"], about["outputs"]
            tensor = MODULES[way].InferInput(given["name"], list(array.shape), given["datatype"])
            tensor.set_data_from_numpy(array)
            return client.infer(model, [tensor]).as_numpy(answered["name"])


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    folder = tmp_path_factory.mktemp("v2_asleep")
    models, port = folder / "models", str(free_port())
    for way in WAYS:
        factor_model.put(models, int(LAZY[way]), f"lazy_{way}", more="  load: lazy\n")
        packed_models.put_times(models, PACKED_LAZY[way], f"drowsy_{way}", load="lazy")
    for name, factor in AWAKE.items():
        packed_models.put_times(models, factor, name)
    with serving(models, folder, SCHWIFT_GRPC_PORT=port, **PACKED) as server:
        yield Asker(server, {"http": server.url.removeprefix("http://"), "grpc": f"127.0.0.1:{port}"})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "factors"), [("lazy", LAZY), ("drowsy", PACKED_LAZY)])
def test_a_sleeping_model_is_woken(asker: Asker, way: str, name: str, factors: dict[str, float]) -> None:
    server = asker.server
    model = f"{name}_{way}"
    assert health(server, model)["state"] == "asleep"
    # One that sleeps is there for who asks; to look does not wake it.
    with asker.client(way) as client:
        assert client.is_model_ready(model)
    assert health(server, model)["state"] == "asleep"
    assert asker.infer(way, model, ROWS).tolist() == (ROWS * factors[way]).tolist()
    # A pack tells that a moment later.
    wait_for(lambda: health(server, model)["state"] == "ready")
    assert metric(server, "inference_requests_total", endpoint=ENDPOINTS[way], model_name=model) == 1


@pytest.mark.parametrize("way", WAYS)
def test_models_of_a_pack_answer_each_with_its_own(asker: Asker, way: str) -> None:
    server = asker.server
    assert {health(server, name)["state"] for name in AWAKE} == {"ready"}

    def ask(number: int) -> bool:
        name = list(AWAKE)[number % 2]
        rows = np.full((1 + number % 3, 2), float(number))
        return bool((asker.infer(way, name, rows) == rows * AWAKE[name]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(64)))
    for name in AWAKE:
        assert metric(server, "inference_requests_total", endpoint=ENDPOINTS[way], model_name=name) == 32
        assert metric(server, "inference_errors_total", endpoint=ENDPOINTS[way], model_name=name) == 0
