"""JSON ↔ tensors of one model, made once from its manifest entry."""

from __future__ import annotations

from typing import Any

from adapter.codec.columns import ColumnsParser
from adapter.codec.decode import FeaturesParser, RowsOfTensors
from adapter.codec.encode import PredictionsWriter
from adapter.codec.labels import LabelsWriter
from converter.schema.manifest import ModelEntry


def make_parser(entry: ModelEntry) -> RowsOfTensors:
    """Make what reads the requests of a model."""
    return ColumnsParser(entry) if entry.columns else FeaturesParser(entry)


class Codec:
    """Both ways of one model: `request` reads what clients send, `answer` writes what they get.

    `labels` names the classes in that, and is None if the config has none.
    """

    def __init__(self, entry: ModelEntry) -> None:
        self.entry = entry
        self.request = make_parser(entry)
        self.answer = PredictionsWriter(entry)
        self.labels = LabelsWriter(entry) if entry.spec.classes else None
        # What other dialects have made of the entry, by their names.
        self.dialects: dict[str, Any] = {}
