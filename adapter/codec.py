"""JSON ↔ tensors of one model, made once from its manifest entry."""

from __future__ import annotations

from adapter.features import FeaturesParser
from adapter.predictions import PredictionsWriter
from converter.spec.manifest import ModelEntry


class Codec:
    """Both ways: `request` reads what clients send, `answer` writes what they get."""

    def __init__(self, entry: ModelEntry) -> None:
        self.request = FeaturesParser(entry)
        self.answer = PredictionsWriter(entry)
