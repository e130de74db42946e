"""What schemathesis has to know beyond the specification's document: which model there is, and what it takes."""

from __future__ import annotations

from typing import Any

import schemathesis

_MODEL = {"MODEL_NAME": "double", "MODEL_VERSION": "1"}
_REQUEST = {
    "id": "42",
    "inputs": [{"name": "features", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 4.5, 5, 6]}],
    "outputs": [{"name": "predictions"}],
}


@schemathesis.hook
def before_load_schema(context: Any, schema: dict[str, Any]) -> None:
    """Amend the document as it was loaded, where it says less than the specification's text or than its clients do."""
    # It writes `${MODEL_NAME}`, where OpenAPI has `{MODEL_NAME}`.
    schema["paths"] = {path.replace("${", "{"): item for path, item in schema["paths"].items()}
    for item in schema["paths"].values():
        for parameter in item.get("parameters", ()):
            # One that is there, in most cases; the text has 4xx for all others.
            parameter["schema"]["enum"] = [_MODEL[parameter["name"]]]
            for operation in ("get", "post"):
                if operation in item:
                    item[operation]["responses"]["404"] = {"description": "no such model"}
        if "post" in item:
            item["post"]["requestBody"]["content"]["application/json"]["example"] = _REQUEST
    # Clients whose messages are typed classes write null for what they leave out, and servers of these take it.
    parts = schema["components"]["schemas"]
    for part in (parts["parameters"], *(parts["inference_request"]["properties"][name] for name in ("id", "outputs"))):
        part["nullable"] = True


@schemathesis.check
def example_is_answered(context: Any, response: Any, case: Any) -> None:
    """Hold that the one right request there is gets its values."""
    is_json = response.request.headers.get("Content-Type") == "application/json"
    if is_json and case.body == _REQUEST and case.method == "POST" and case.path_parameters == _MODEL:
        assert response.status_code == 200, f"the example got {response.status_code}"
        assert response.json()["outputs"][0]["data"] == [2, 4, 6, 9, 10, 12], response.text
