"""How a model shares, sleeps and queues: what each of these keys takes, and each mistake with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from converter.errors import ConfigError
from converter.schema.config_loader import load_spec
from converter.schema.fields.scheduling import AUTO_INSTANCES
from tests.support.models.sample_models import model_spec, model_yaml

# The line of the first key below them.
LINES = len(model_yaml().splitlines())


def test_auto_is_decided_by_the_build() -> None:
    assert model_spec(instances="auto").instances == AUTO_INSTANCES
    assert model_spec(instances=3).instances == 3


@pytest.mark.parametrize(("written", "pack"), [(True, "default"), (False, False), ("mates", "mates"), (None, None)])
def test_a_pack_is_a_name_or_none(written: Any, pack: Any) -> None:
    spec = model_spec(pack=written)
    assert spec.pack == pack
    assert type(spec).model_validate_json(spec.model_dump_json(by_alias=True)).pack == pack


@pytest.mark.parametrize(("written", "seconds"), [("30s", 30), ("10m", 600), ("2h", 7200), (45, 45), (None, None)])
def test_durations_are_seconds(written: Any, seconds: float | None) -> None:
    spec = model_spec(idle_unload=written)
    assert spec.idle_unload == seconds
    assert type(spec).model_validate_json(spec.model_dump_json(by_alias=True)).idle_unload == seconds


@pytest.mark.parametrize(("written", "level"), [({"levels": 4}, 4), ({"levels": 4, "default": 1}, 1)])
def test_requests_without_a_level_have_the_last_unless_another_is_written(written: Any, level: int) -> None:
    spec = model_spec(priority=written)
    assert spec.priority is not None and spec.priority.default_level == level


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("  instances: 0\n", "1: model.instances: Input should be greater than or equal to 1"),
        (
            "  instances: all\n",
            "1: model.instances: Input should be a valid integer, unable to parse string as an integer",
        ),
        ("  priority: {levels: 1}\n", "1: model.priority.levels: Input should be greater than or equal to 2"),
        (
            "  priority: {levels: 3, default: 4}\n",
            "1: model.priority.default: 4 is no level: they are 1 to 3",
        ),
        (
            "  priority: {level: 3}\n",
            "1: model.priority.levels: this key is missing",
        ),
        (
            "  priority: {levels: 3}\n  endpoints: [predict]\n",
            "1: model.priority: is of the queue that endpoints: [predict] leaves out: remove one of the two",
        ),
        (
            "  max_batch_size: 8\n  preferred_batch_size: [4, 16]\n",
            "2: model.preferred_batch_size: 16 is more than max_batch_size, which is 8: lower it, or raise "
            "max_batch_size",
        ),
        (
            "  max_batch_size: 8\n  rush_batch_size: 4\n",
            "2: model.rush_batch_size: 4, and max_batch_size is 8, both the most rows of a call: remove one",
        ),
        (
            "  pack: a/b\n",
            "1: model.pack: 'a/b' is no pack: write false, or a name of up to 100 letters, digits, dots, dashes and "
            "underscores",
        ),
        (
            "  idle_unload: 10 min\n",
            "1: model.idle_unload: '10 min' is no duration: write it as in 30s, 10m or 2h",
        ),
        (
            "  load: later\n",
            "1: model.load: Input should be 'eager' or 'lazy'",
        ),
        (
            "  decoupled: true\n",
            "1: model.decoupled: a decoupled model answers a request never or many times, and over HTTP each request "
            "here has one answer: remove it, and return the whole answer at once",
        ),
    ],
)
def test_a_mistake_has_its_line_and_the_remedy(tmp_path: Path, added: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(model_yaml() + added, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_spec(path, "x.yaml")
    line, _, rest = message.partition(":")
    assert caught.value.problems[0] == f"x.yaml:{LINES + int(line)}:{rest}"
