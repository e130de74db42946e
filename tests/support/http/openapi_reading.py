"""What an OpenAPI document says: its operations, its references, its examples with their schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema

_METHODS = ("get", "post")


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation of each."""
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                yield path, method, methods[method]


def follow(document: Mapping[str, Any], item: Any) -> Any:
    """An item, or what its reference leads to; KeyError if that is nowhere."""
    while "$ref" in item:
        found: Any = document
        for step in item["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        item = found
    return item


def references(item: Any) -> Iterator[dict[str, Any]]:
    """Every reference in a document, wherever it stands."""
    if isinstance(item, dict):
        if isinstance(item.get("$ref"), str):
            yield item
        for value in item.values():
            yield from references(value)
    elif isinstance(item, list):
        for value in item:
            yield from references(value)


def complaints(document: Mapping[str, Any], schema: Mapping[str, Any], value: Any) -> list[str]:
    """What is wrong with a value by a schema of the document."""
    validator = jsonschema.Draft202012Validator({**schema, "components": document["components"]})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def examples(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """Where each example of a body stands, the schema that it stands under, and the example."""
    for path, _, operation in operations(document):
        if "requestBody" in operation:
            yield from _of_content(path, operation["requestBody"]["content"])
    for name, answer in document["components"]["responses"].items():
        yield from _of_content(name, answer["content"])


def example_of(document: Mapping[str, Any], path: str) -> Any:
    """The example of a path of one model; None if it has none."""
    return document["paths"][path]["post"]["requestBody"]["content"]["application/json"].get("example")


def answer_schema(document: Mapping[str, Any], path: str, method: str, status: int) -> Any:
    """The schema of an answer in JSON."""
    answer = follow(document, document["paths"][path][method]["responses"][str(status)])
    return answer["content"]["application/json"]["schema"]


def _of_content(where: str, content: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    for media in content.values():
        if "example" in media:
            yield where, media["schema"], media["example"]
        for name, example in media.get("examples", {}).items():
            if "value" in example:
                yield f"{where} {name}", media["schema"], example["value"]
