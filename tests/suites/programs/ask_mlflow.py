"""MLflow's scoring client, and requests as it makes them: `ask_mlflow.py http://host:port`; a line for each part."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import requests
from mlflow.pyfunc import scoring_server
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from mlflow.utils.proto_json_utils import dump_input_data

URL = sys.argv[1]
ROWS = np.array([[1.5, -2.0, 3.0], [4.0, 5.0, 6.25]])
TABLE = pd.DataFrame({"rooms": [2, 5], "city": ["Bern", "Zürich"]})
PRICES = [204.0, 506.0]


def ping() -> None:
    client().wait_server_ready(timeout=10)


def version() -> None:
    assert client().get_version().strip(), "an empty version"


def invoke_array() -> None:
    same(client().invoke(ROWS).get_predictions("ndarray"), ROWS * 2)


def invoke_frame() -> None:
    same(client().invoke(pd.DataFrame(ROWS)).get_predictions("dataframe").to_numpy(), ROWS * 2)


def invoke_table_of_names() -> None:
    same(post("price", dump_input_data(TABLE)), PRICES)
    same(post("price", dump_input_data(TABLE, inputs_key="dataframe_records")), PRICES)


def invoke_columns() -> None:
    """Write the body by hand: `dump_input_data` of this version can't write a dict."""
    same(post("price", json.dumps({"inputs": TABLE.to_dict(orient="list")})), PRICES)


def invoke_csv() -> None:
    same(post("price", TABLE.to_csv(index=False), scoring_server.CONTENT_TYPE_CSV), PRICES)


def parameters_are_refused() -> None:
    try:
        client().invoke(ROWS, params={"temperature": 1})
    except Exception as error:
        assert "error code 422" in str(error), error
    else:
        raise AssertionError("parameters that the model does not take were taken")


def error_names_its_code() -> None:
    answer = requests.post(f"{URL}/invocations", data="{", headers=json_type(), timeout=30)
    assert answer.status_code == 400 and answer.json()["error_code"] == "MALFORMED_REQUEST", answer.text


def sagemaker() -> None:
    """As its platform asks a container: /ping with any agent, rows as CSV without a line of names."""
    assert requests.get(f"{URL}/ping", headers={"User-Agent": "AHC/2.0"}, timeout=30).status_code == 200
    rows = "\n".join(",".join(map(str, row)) for row in ROWS.tolist())
    headers = {"Content-Type": "text/csv; header=absent", "Accept": "application/json"}
    answer = requests.post(f"{URL}/invocations", data=rows, headers=headers, timeout=30)
    same(answer.json()["predictions"], ROWS * 2)


def client() -> ScoringServerClient:
    parts = urlsplit(URL)
    return ScoringServerClient(parts.hostname, parts.port)


def post(model: str, body: str, kind: str = scoring_server.CONTENT_TYPE_JSON) -> object:
    headers = {"Content-Type": kind}
    answer = requests.post(f"{URL}/models/{model}/invocations", data=body.encode(), headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def json_type() -> dict[str, str]:
    return {"Content-Type": scoring_server.CONTENT_TYPE_JSON}


def same(answer: object, expected: object) -> None:
    np.testing.assert_allclose(np.asarray(answer, float), np.asarray(expected, float), rtol=1e-6)


PARTS: list[Callable[[], None]] = [
    ping, version, invoke_array, invoke_frame, invoke_table_of_names, invoke_columns, invoke_csv,
    parameters_are_refused, error_names_its_code, sagemaker,
]  # fmt: skip
for part in PARTS:
    name = part.__name__.replace("_", " ")
    try:
        part()
    except Exception as error:
        print(f"FAIL {name}: {type(error).__name__} {' '.join(str(error).split())}")
    else:
        print(f"PASS {name}")
