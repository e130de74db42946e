"""What a mistake is: a right model's folder, and what somebody does to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.zoo.right_models import RightModel

CONFIG = "model_config.yaml"
# Of the right model; none; or one that `schwift new` makes of the mistaken file.
Sample = Literal["right", "none", "new"]


@dataclass(frozen=True)
class Draft:
    """A folder that holds a right model until a mistake is made in it."""

    folder: Path
    right: RightModel

    def edit(self, old: str, new: str) -> None:
        """Change the config's text, which must have `old`; NAME is the model's."""
        old, new = (part.replace("NAME", self.folder.name) for part in (old, new))
        text = (self.folder / CONFIG).read_text()
        assert old in text, f"{self.folder.name}: {old!r} is not in the config"
        (self.folder / CONFIG).write_text(text.replace(old, new))

    def put(self, name: str, content: bytes | str) -> None:
        (self.folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def sample(self, features: Any, predictions: Any) -> None:
        self.put("sample.json", json.dumps({"features": features, "predictions": predictions}))


Change = Callable[[Draft], object]


@dataclass(frozen=True)
class Mistake:
    """A mistake of a new user.

    `says` is a pattern of what a message must hold beside its place: the remedy. With `new`, the folder has the
    model's files alone, and these are the arguments of `schwift new` there. With `told` False nobody can tell it from
    the files, and `says`, if there is any, is of a warning. A `harmless` one may be served, if the answers are right.
    """

    name: str
    right: str
    change: Change
    says: str
    sample: Sample = "none"
    new: tuple[str, ...] | None = None
    told: bool = True
    harmless: bool = False


def edit(old: str, new: str) -> Change:
    return lambda draft: draft.edit(old, new)


def put(name: str, content: bytes | str) -> Change:
    return lambda draft: draft.put(name, content)
