"""Models that Triton's own clients alone keep busy, past the adapter, which sees neither calls nor answers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests.support.servers import factor_model, pids
from tests.support.servers.asking import ask, health, metric
from tests.support.servers.server import Server, wait_for
from tests.support.servers.serving import serving

DEADLINE = 2.0
CALL_SECONDS = 0.8 * DEADLINE
# Until the adapter asks a model that nobody asks there, and then some deadlines.
LOAD_SECONDS = 10 + 8 * DEADLINE
CLIENTS = 4
EXPIRED = "Request timeout expired"


def keep_asking(server: Server, triton_model: str, until: float, answers: Counter[str]) -> None:
    """Ask a row of a Triton model, at Triton's own port, again and again; count what came of it."""
    client = tritonclient.http.InferenceServerClient(server.triton_http, network_timeout=60)
    rows = np.array([[1.0, 2.0]])
    asked = tritonclient.http.InferInput("features", rows.shape, "FP64")
    asked.set_data_from_numpy(rows)
    while time.monotonic() < until:
        try:
            answer = client.infer(triton_model, [asked])
            name = answer.get_response()["outputs"][0]["name"]
            answers[f"{triton_model} {answer.as_numpy(name).tolist()}"] += 1
        except InferenceServerException as error:
            answers[f"{triton_model} {error}"] += 1
    client.close()


def test_R6_a_slow_model_that_tritons_own_clients_ask_is_not_called_hung(tmp_path: Path) -> None:
    models = tmp_path / "models"
    # The front's probe waits for a batch and then for its own; the model's, behind as many calls as there are clients.
    for factor, name in ((2, "slow"), (3, "deep")):
        factor_model.put(models, factor, name, at_call=f"time.sleep({CALL_SECONDS})")
    with serving(models, tmp_path, PREDICT_TIMEOUT_SECONDS=str(DEADLINE)) as server:
        stubs = sorted(pids.stubs(server))
        answers: Counter[str] = Counter()
        until = time.monotonic() + LOAD_SECONDS
        clients = [
            threading.Thread(target=keep_asking, args=(server, name, until, answers))
            for name in ("slow", "deep_direct")
            for _ in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        # The first probe of the model is a call of its own, behind which a batch of the front's may be late.
        right = {"slow [[2.0, 4.0]]", "deep_direct [[3.0, 6.0]]"}
        assert {said for said in answers if "slow_direct did not answer" not in said and EXPIRED not in said} == right
        assert "does not answer" not in server.output
        assert metric(server, "schwift_model_recoveries_total") == 0
        assert [health(server, name)["state"] for name in ("slow", "deep")] == ["ready", "ready"]
        assert sorted(pids.stubs(server)) == stubs
        wait_for(lambda: ask(server, "slow", [[1.0, 2.0]]).status == 200)
