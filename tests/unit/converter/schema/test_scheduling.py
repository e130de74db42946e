"""`instances: auto`, `priority`, `max_batch_size` and `decoupled`: what each takes, and each mistake with its line."""

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
