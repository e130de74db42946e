"""Clients that openapi-python-client makes of a document: what somebody has who was given the address alone."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.http.openapi_reading import example_of, operations

# It says so of MLflow's CSV, of which its client has the JSON alone.
_KNOWN_WARNING = "Unsupported content type text/csv"


class GeneratedClient:
    """The functions of a document's operations, for the server at `url`."""

    def __init__(self, package: str, url: str, document: Mapping[str, Any]) -> None:
        self._package = package
        self._client = importlib.import_module(package).Client(base_url=url, timeout=httpx.Timeout(30))
        self._tags = {operation["operationId"]: operation["tags"][0] for _, _, operation in operations(document)}

    def close(self) -> None:
        self._client.get_httpx_client().close()

    def call(self, operation: str, body: Any = None, **arguments: Any) -> tuple[int, Any]:
        """The status, and the typed answer as plain values; the body is made of plain values by its type."""
        function = importlib.import_module(f"{self._package}.api.{self._tags[operation]}.{operation}").sync_detailed
        if body is not None:
            arguments["body"] = typing.get_type_hints(function)["body"].from_dict(body)
        answer = function(client=self._client, **arguments)
        parsed = answer.parsed.to_dict() if hasattr(answer.parsed, "to_dict") else answer.parsed
        return int(answer.status_code), parsed


@contextmanager
def generated_client(url: str, folder: Path) -> Iterator[GeneratedClient]:
    """Make a client of the document of a server, in a package of its own; it warned of nothing."""
    document = httpx.get(f"{url}/openapi.json", timeout=30).json()
    source, settings, package = folder / "openapi.json", folder / "settings.json", f"client_of_{folder.name}"
    source.write_text(json.dumps(document), encoding="utf-8")
    settings.write_text(json.dumps({"post_hooks": []}), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", "generate", "--path", str(source), "--config", str(settings),
         "--meta", "none", "--output-path", str(folder / package)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.count("WARNING") == done.stdout.count(_KNOWN_WARNING), done.stdout
    sys.path.insert(0, str(folder))
    client = GeneratedClient(package, url, document)
    try:
        yield client
    finally:
        client.close()
        sys.path.remove(str(folder))


def differences(client: GeneratedClient, url: str) -> Iterator[str]:
    """Call the function of each path of one model with its example, and say where its answer is not a plain POST's.

    Where it takes labels, both ways.
    """
    document = httpx.get(f"{url}/openapi.json", timeout=30).json()
    for path, _, operation in operations(document):
        if operation["tags"] != ["models"] or (example := example_of(document, path)) is None:
            continue
        labels: list[dict[str, bool]] = [{}]
        if any(parameter["$ref"].endswith("/Labels") for parameter in operation["parameters"]):
            labels.append({"labels": True})
        for arguments in labels:
            query = "?labels=true" if arguments else ""
            plain = httpx.post(f"{url}{path}{query}", json=example, timeout=30)
            found = client.call(operation["operationId"], example, **arguments)
            if plain.status_code != 200 or found != (200, plain.json()):
                yield f"{path}{query}: {found}, and a POST {plain.status_code} {plain.text}"
