"""A sample is rows and answers; what is none is told apart from one with a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from converter.schema.samples.sample_file import MOST_SAMPLE_BYTES, BadSample, Sample, read_sample


def read(tmp_path: Path, text: str) -> Sample | None:
    (tmp_path / "sample.json").write_text(text)
    return read_sample(tmp_path / "sample.json")


def test_rows_and_answers_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, '{"features": [[1]], "predictions": [[2]], "made_by": "me"}') == Sample([[1]], [[2]], "me")
    assert read(tmp_path, '{"features": {"a": [[1]]}, "predictions": {"y": [[2]]}}') == Sample(
        {"a": [[1]]}, {"y": [[2]]}
    )


@pytest.mark.parametrize("text", ["[1, 2]", "{}", '{"rows": [1]}', "3"])
def test_another_file_of_that_name_is_no_sample(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is not JSON: .*: write it again, or remove it"),
        ('{"features": [[NaN]], "predictions": [[1]]}', "it is not JSON: NaN is no number in JSON"),
        ('{"features": [[1]]}', "predictions: a sample needs rows"),
        ('{"features": [], "predictions": [[1]]}', "features: a sample needs rows"),
        ('{"features": 1, "predictions": [[1]]}', "features: a sample needs rows"),
        ('{"features": [[1]], "predictions": [[1]], "more": 1}', "'more' is no key of a sample: it has features, pre"),
        ('{"features": ' + "[" * 100_000, "it is not JSON"),
        ('{"features": "' + "x" * MOST_SAMPLE_BYTES + '"}', f"it has over {MOST_SAMPLE_BYTES} bytes"),
    ],
)
def test_a_mistake_is_said(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadSample, match=message):
        read(tmp_path, text)
