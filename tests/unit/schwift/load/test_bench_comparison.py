from __future__ import annotations

import json
from pathlib import Path

import pytest

from schwift.load.bench_comparison import compare_documents, format_comparison
from schwift.load.bench_document import check_writable, describe, load_document, save_document
from schwift.load.bench_server import BenchProblem
from schwift.load.step_result import StepResult
from tests.unit.schwift.load.step_results import make_document, make_result

STEADY = (100.0, 101.0, 99.0, 100.0, 102.0, 98.0)
NOISY = (60.0, 140.0, 100.0, 80.0, 120.0, 100.0)


def verdicts(before: StepResult, after: StepResult) -> dict[str, str]:
    return {value.what: value.verdict for value in compare_documents(make_document(before), make_document(after))}


def test_a_measurement_and_its_copy_do_not_differ() -> None:
    result = make_result(rates=NOISY)
    assert verdicts(result, result) == dict.fromkeys(("answers/s", "p50 ms", "p99 ms"), "within noise")


@pytest.mark.parametrize(("times", "verdict"), [(1.2, "better"), (0.8, "worse"), (1.015, "within noise")])
def test_more_answers_are_better_if_it_is_more_than_noise(times: float, verdict: str) -> None:
    faster = make_result(rates=[rate * times for rate in STEADY])
    assert verdicts(make_result(rates=STEADY), faster)["answers/s"] == verdict


def test_the_same_difference_is_noise_where_seconds_lie_apart() -> None:
    faster = make_result(rates=[rate * 1.2 for rate in NOISY])
    assert verdicts(make_result(rates=NOISY), faster)["answers/s"] == "within noise"


def test_longer_latencies_are_worse_and_errors_too() -> None:
    slower = make_result(
        rates=STEADY,
        latency_ms={"p50": 3.0, "p99": 4.0},
        per_second=[{"seconds": 1.0, "good": 100.0, "failed": 0, "p50_ms": 3.0, "p99_ms": 4.0}] * 6,
        outcomes={"200": 600, "500": 2},
    )
    before = make_result(rates=STEADY)
    assert verdicts(before, slower) == {
        "answers/s": "within noise", "p50 ms": "worse", "p99 ms": "worse", "errors": "worse",
    }  # fmt: skip
    assert verdicts(slower, before)["p50 ms"] == verdicts(slower, before)["errors"] == "better"


def test_few_seconds_tell_nothing() -> None:
    assert set(verdicts(make_result(rates=(1.0,) * 4), make_result(rates=(9.0,) * 9)).values()) == {"too short to tell"}


def test_steps_are_matched_and_what_is_another_is_said() -> None:
    before = make_document(make_result(1), make_result(4), duration=10, rows=1)
    after = make_document(make_result(4), make_result(16), duration=20, rows=1)
    after.about["machine"] = {"cores": 8}
    values = compare_documents(before, after)
    assert {value.step for value in values} == {"4 connections"}
    assert {value.ratio for value in values} == {1.0}
    text = format_comparison(before, after)
    assert "duration: 10 in A, 20 in B" in text and "rows" not in text
    assert "different machines" in text and "A: http://localhost:8005" in text
    with pytest.raises(BenchProblem, match="no step in common"):
        compare_documents(make_document(make_result(1)), make_document(make_result(1, rows=7)))


def test_a_document_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    document = describe("http://localhost:8005", {"name": "schwift"}, {"rows": 1}, False)
    document.results.extend([make_result(1), make_result(4, rate=50.0)])
    save_document(path, document)
    assert load_document(path) == document
    whole = json.loads(path.read_text(encoding="utf-8"))
    assert whole["machine"]["cores"] >= 1 and whole["results"][1]["rate"] == 50.0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"results": [{"model": "x"}]}', '{"results": [], "form": "other"}'])
def test_what_is_no_document_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BenchProblem, match=r"b\.json is not of this version's"):
        load_document(path)
    with pytest.raises(BenchProblem, match=r"none\.json cannot be read"):
        load_document(tmp_path / "none.json")


def test_a_file_that_cannot_be_written_is_known_before(tmp_path: Path) -> None:
    check_writable([None, tmp_path / "new.json"])
    for path in (tmp_path, tmp_path / "no" / "x.json"):
        with pytest.raises(BenchProblem, match="cannot be written"):
            check_writable([path])
