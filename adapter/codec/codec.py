"""JSON ↔ tensors of one model, made once from its manifest entry."""

from __future__ import annotations

from adapter.codec.decode import FeaturesParser
from adapter.codec.encode import PredictionsWriter
from converter.schema.manifest import ModelEntry


class Codec:
    """Both ways of one model: `request` reads what clients send, `answer` writes what they get."""

    def __init__(self, entry: ModelEntry) -> None:
        self.entry = entry
        self.request = FeaturesParser(entry)
        self.answer = PredictionsWriter(entry)
