"""What a build says of packs where they are off."""

from __future__ import annotations

from typing import Any

import pytest

from converter.packing.hint import suggest_packs
from converter.packing.placement import Packable
from tests.support.models.packable_models import PACKED
from tests.support.models.sample_models import model_spec, options_of


def models(count: int, prefix: str = "m", **keys: Any) -> list[Packable]:
    return [Packable(f"models/{i}/model_config.yaml", model_spec(name=f"{prefix}{i}", **keys)) for i in range(count)]


@pytest.mark.parametrize(("count", "cores", "said"), [(1, 2, False), (2, 2, True), (11, 4, False), (12, 4, True)])
def test_hint_is_given_if_packs_would_save_much_or_cores_are_few(count: int, cores: int, said: bool) -> None:
    hint = suggest_packs(models(count), options_of(cores))
    assert (hint is not None) == said
    assert hint is None or hint.startswith(f"{count} models could share a process, which saves some {count - 1}00 MB")


def test_the_hint_counts_the_processes_that_stay() -> None:
    hint = suggest_packs([*models(8), *models(5, "other", rush_batch_size=64)], options_of(2))
    assert hint is not None
    assert hint.startswith("13 models could share 2 processes, which saves some 1100 MB")


def test_no_hint_for_what_would_not_be_packed() -> None:
    assert suggest_packs(models(20, pack=False), options_of()) is None
    assert suggest_packs(models(20, caching=True), options_of()) is None
    assert suggest_packs(models(20), PACKED) is None
