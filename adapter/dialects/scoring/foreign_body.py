"""The body of a request in one of these dialects, from its bytes to the rows of its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from adapter.codec.codec import make_parser
from adapter.codec.decode import LARGE_BYTES, Features, RowsOfTensors, without_collections
from adapter.dialects.scoring import csv_rows, json_parts, kserve_v1, mlflow
from adapter.dialects.scoring.json_parts import Part
from adapter.errors import BadFeatures, SchemaMismatch
from converter.schema.manifest import ModelEntry

# How a body is written.
Writing = Literal["v1", "mlflow", "csv", "csv without header"]
_READERS: Mapping[str, Callable[[bytes, ModelEntry], tuple[Part, str]]] = {
    "v1": kserve_v1.read_instances,
    "mlflow": mlflow.read_invocation,
    "csv": csv_rows.read_csv,
    "csv without header": csv_rows.read_bare_csv,
}
OURS = "features"


def make_reader(entry: ModelEntry) -> RowsOfTensors:
    """Make what `read_large` reads with."""
    return make_parser(entry)


def read_large(parser: RowsOfTensors, body: bytes, note: str) -> tuple[Features, str]:
    """Return the rows of a body of which `note` says how it is written, and what it calls the features."""
    return parse_foreign(note, parser, body)


def parse_foreign(writing: str, parser: RowsOfTensors, body: bytes) -> tuple[Features, str]:
    """Return the rows of a body, and what it calls the features.

    Raises: MalformedJson, BadFeatures and SchemaMismatch, in words of this dialect.
    """
    if len(body) > LARGE_BYTES:
        with without_collections():
            return _parse(writing, parser, body)
    return _parse(writing, parser, body)


def _parse(writing: str, parser: RowsOfTensors, body: bytes) -> tuple[Features, str]:
    content, where = _READERS[writing](body, parser.entry)
    try:
        return parser.parse(json_parts.write_features(content)), where
    except BadFeatures as error:
        kind = SchemaMismatch if error.of_columns else BadFeatures
        raise kind(rename(error.detail, where)) from None


def rename(detail: str, where: str) -> str:
    """Return what is said of features, by what the client calls them."""
    return where + detail.removeprefix(OURS) if detail.startswith(OURS) else detail
