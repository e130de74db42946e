"""The part of the OpenAPI document that is one model's: its paths, its types, and an example that it answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from adapter.codec.codec import Codec
from adapter.errors import BadRequest
from adapter.http.openapi import value_schemas
from adapter.http.openapi.error_answers import every_error, header
from adapter.http.openapi.operation_names import class_name
from adapter.http.openapi.value_schemas import Schema
from converter.schema.manifest import ModelEntry
from converter.schema.model import Endpoint
from converter.schema.samples.sample_file import Sample

TAG = "models"
TIMEOUT = {"$ref": "#/components/parameters/RequestTimeout"}
LABELS = {"$ref": "#/components/parameters/Labels"}
# A model of more numbers a row has no example in the document.
_MOST_EXAMPLE_VALUES = 1000
_MOST_SUMMARY, _MOST_DESCRIPTION = 120, 2000
_EXAMPLE_ROWS: Mapping[Endpoint, int] = {"predict": 2, "predict_batched": 1}
_DOES: Mapping[Endpoint, str] = {
    "predict": "Any number of rows, answered at once.",
    "predict_batched": "One row, joined with those of other requests.",
}


@dataclass(frozen=True)
class ModelPart:
    """What one model adds to the document, as JSON: schemas by name, paths, and examples for the paths of all models.

    `size` is in bytes.
    """

    schemas: Mapping[str, orjson.Fragment]
    paths: Mapping[str, orjson.Fragment]
    examples: Mapping[Endpoint, orjson.Fragment]
    size: int


def describe_model(codec: Codec, plain: str, sample: Sample | None) -> ModelPart:
    """Describe a model that generated code calls `plain`; its examples are rows of the sample, or made up."""
    entry = codec.entry
    endpoints = entry.spec.endpoints
    name = class_name(plain)
    features = _example_features(codec, sample)
    schemas = _answer_schemas(entry, name)
    record: Schema = {}
    if entry.columns:
        schemas[f"{name}Record"] = {
            **value_schemas.record_schema(entry.columns), "description": f"One row of {entry.name}.",
        }  # fmt: skip
        record = schema_of(f"{name}Record")
    paths, examples = {}, {}
    for endpoint in endpoints:
        body = f"{class_name(endpoint)}{name}Body"
        schemas[body] = {
            "type": "object",
            "required": ["features"],
            "properties": {"features": value_schemas.features_schema(entry, record, endpoint == "predict_batched")},
            "additionalProperties": False,
        }
        example = None if features is None else {"features": codec.request.as_sent(_cut(features, endpoint))}
        examples[endpoint] = _example(entry, example)
        content: dict[str, Any] = {"schema": schema_of(body)}
        if example is not None:
            content["example"] = example
        paths[f"/{endpoint}/{entry.name}"] = {"post": _operation(entry, endpoint, plain, content)}
    return _as_part(schemas, paths, examples)


def schema_of(name: str) -> dict[str, str]:
    """Return a reference to a schema of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def _as_part(schemas: dict[str, Any], paths: dict[str, Any], examples: dict[Endpoint, Any]) -> ModelPart:
    written = [{key: orjson.dumps(value) for key, value in items.items()} for items in (schemas, paths, examples)]
    size = sum(len(text) for items in written for text in items.values())
    kept: list[Any] = [{key: orjson.Fragment(text) for key, text in items.items()} for items in written]
    return ModelPart(kept[0], kept[1], kept[2], size)


def _operation(entry: ModelEntry, endpoint: Endpoint, plain: str, content: dict[str, Any]) -> dict[str, Any]:
    spec = entry.spec
    text = " ".join(spec.description.split())
    said = f"{entry.name} {spec.version}" + (f": {text}" if text else "")
    summary = said if len(said) <= _MOST_SUMMARY else said[: _MOST_SUMMARY - 1] + "…"
    rest = "" if summary == said else f"{text[:_MOST_DESCRIPTION]} "
    forms = f"`/{endpoint}/{{model_name}}` says in which other forms features are taken."
    names = [f"{class_name(plain)}{end}" for end in (("Labelled", "Answer") if spec.classes else ("Answer",))]
    # The one with names first: a reader that does not look into lists would take all for the other.
    schema = schema_of(names[0]) if len(names) == 1 else {"anyOf": [schema_of(name) for name in names]}
    answer = {
        "description": "The predictions, in the order of the rows.",
        "headers": {"X-Request-Id": header("RequestId"), "RateLimit": header("RateLimit")},
        "content": {"application/json": {"schema": schema}},
    }
    return {
        "operationId": f"{endpoint}_{plain}",
        "tags": [TAG],
        "summary": summary,
        "description": f"{rest}{_DOES[endpoint]} {forms}",
        "parameters": [TIMEOUT, LABELS] if spec.classes else [TIMEOUT],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {"200": answer, **{str(status): error for status, error in every_error().items()}},
    }


def _answer_schemas(entry: ModelEntry, name: str) -> dict[str, Any]:
    """Return the schemas of a model's answers, plain and with labels=true, and of rows of the latter, by their names.

    A model without classes has the first alone.
    """
    labels, schemas = {}, {f"{name}Answer": _answer_schema(entry, {})}
    for i, (output, schema) in enumerate(value_schemas.label_schemas(entry).items()):
        found = f"{name}Labels{i or ''}"
        schemas[found] = {**schema, "description": "A row with labels=true."}
        labels[output] = schema_of(found)
    if labels:
        schemas[f"{name}Labelled"] = _answer_schema(entry, labels)
    return schemas


def _answer_schema(entry: ModelEntry, labels: dict[str, Schema]) -> Schema:
    predictions = value_schemas.predictions_schema(entry, labels)
    return {
        "type": "object",
        "required": ["model", "predictions"],
        "properties": {"model": {"type": "string", "const": entry.name}, "predictions": predictions},
    }


def _example_features(codec: Codec, sample: Sample | None) -> list[list[Any]] | None:
    """Return the first rows of the sample, or made-up ones, as `parse` gives them; None if they are too large."""
    rows = max(_EXAMPLE_ROWS.values())
    if sample is not None:
        try:
            # Counted and cut before they are read: a sample may have so many that requests would wait for it.
            first, most = _first_rows(sample.features, rows), rows * _MOST_EXAMPLE_VALUES
            if _count(first, most) <= most:
                return [part[:rows] for part in codec.request.parse(orjson.dumps({"features": first}))]
        except (BadRequest, orjson.JSONEncodeError):
            # The model fails after its load, and says why.
            pass
    if sum(math.prod(map(abs, tensor.dims)) for tensor in codec.entry.inputs) * rows > _MOST_EXAMPLE_VALUES:
        return None
    return codec.request.example_parts(rows)


def _cut(features: list[list[Any]], endpoint: Endpoint) -> list[list[Any]]:
    return [part[: _EXAMPLE_ROWS[endpoint]] for part in features]


def _first_rows(features: Any, rows: int) -> Any:
    """Return the first rows of a sample's features; all that is written flat, which may be one row."""
    parts = features.values() if isinstance(features, dict) else [features]
    if not all(isinstance(part, list) and part and isinstance(part[0], list | dict) for part in parts):
        return features
    return {name: part[:rows] for name, part in features.items()} if isinstance(features, dict) else features[:rows]


def _count(values: Any, most: int) -> int:
    """Return how many values there are; if there are over `most`, any number that is, after so many steps."""
    count, left = 0, [values]
    while left and count + len(left) <= most:
        item = left.pop()
        if isinstance(item, dict):
            left.extend(item.values())
        elif isinstance(item, list):
            left.extend(item)
        else:
            count += 1
    return count + len(left)


def _example(entry: ModelEntry, value: dict[str, Any] | None) -> dict[str, Any]:
    """Return a model's example for the path of all models, without its value if there is none."""
    summary = f"{entry.name}: {entry.spec.description}" if entry.spec.description else entry.name
    if value is not None:
        return {"summary": summary, "value": value}
    shapes = ", ".join(f"{tensor.name} {tensor.dtype}{['rows', *tensor.dims]}" for tensor in entry.inputs)
    return {"summary": summary, "description": f"Too large to be shown: {shapes}".replace("'", "")}
