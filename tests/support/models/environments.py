"""Where models of tests run: environments of a build, and settings that keep what is made in the test's own folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from converter.inspect.discover import ModelSource
from converter.inspect.inspector import ModelFacts, inspect, settle
from converter.inspect.model_environments import ModelEnvironments
from converter.schema.settings import load_settings


def environments_in(root: Path, **settings: Any) -> ModelEnvironments:
    """Those of a build that keeps what it makes below `root`, and says nothing."""
    return ModelEnvironments(load_settings(None, cache=root / "cache", **settings), lambda text: None)


def inspect_whole(source: ModelSource, root: Path, **settings: Any) -> ModelFacts:
    """What a build finds out of one model, in this process and not in one with bounds."""
    environments = environments_in(root, **settings)
    (prepared,) = environments.prepare([source])
    return settle(prepared, inspect(prepared, root), environments)
