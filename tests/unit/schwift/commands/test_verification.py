"""ServedAnswer answers beside the original's, without a server: what counts as equal, and which row is the worst."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from converter.authoring.original import Original
from schwift.commands.served_rows import ServedAnswer, ServedModel
from schwift.commands.verification import Verification, Verified, expect_answer
from schwift.commands.verify_report import format_json, format_text
from tests.support.fakes.entries import make_entry

FORM = {"form": "matrix", "width": 1, "dtype": "float64"}
ROWS = ([1.0], [2.0], [3.0])
REFUSED = ServedAnswer(500, detail="the model raised")
Answer = Callable[[str, list[Any]], ServedAnswer]


class FakeModel(ServedModel):
    """Answers twice each value, unless told otherwise."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("nowhere", 0, "m", 1)
        self._answer = answer

    def ask(self, endpoint: str, features: Any) -> ServedAnswer:
        self.requests += 1
        return self._answer(endpoint, features)


def double(endpoint: str, rows: list[Any]) -> ServedAnswer:
    return REFUSED if [0.0] in rows else ServedAnswer(200, [[row[0] * 2] for row in rows])


def compare(
    answer: Answer = double, rows: Any = ROWS, answers: Any = None, of_sample: int = 3, spec: Mapping[str, Any] = {},
    **original: Any,
) -> Verified:  # fmt: skip
    found = tuple(None if row == [0.0] else [[row[0] * 2]] for row in rows) if answers is None else answers
    known = Original(tuple(rows), found, of_sample=of_sample, asked="a class", **original)
    entry = make_entry(inputs=[("x", "float64", (1,))], outputs=[("y", "float64", (1,))], **spec)
    return Verification(entry, FORM, known, FakeModel(answer), 10_000, lambda: None).run()


def test_equal_answers_are_counted() -> None:
    found = compare()
    assert (found.result, found.rows, found.refused, found.largest, found.differ) == ("equal", 3, 0, 0.0, frozenset())
    # One by one on both endpoints, together on one, and joined on the other.
    assert found.requests == 3 + 1 + 3 + 3
    assert found.notes == () and found.worst is None


def test_the_endpoints_that_a_model_has_are_asked() -> None:
    assert compare(spec={"endpoints": ["predict"]}).requests == 4


def test_the_worst_row_is_the_one_that_is_furthest_off() -> None:
    def lean(endpoint: str, rows: list[Any]) -> ServedAnswer:
        return ServedAnswer(200, [[row[0] * 2 + (row[0] if len(rows) > 1 else 0)] for row in rows])

    found = compare(lean, of_sample=2)
    assert (found.result, found.largest, found.differ) == ("differs", 3.0, frozenset({0, 1, 2}))
    assert str(found.worst) == "/predict, together: made-up row 2, [0]: served 9.0, original 6.0"


def test_a_difference_within_the_tolerance_is_none() -> None:
    def near(endpoint: str, rows: list[Any]) -> ServedAnswer:
        return ServedAnswer(200, [[row[0] * 2 + 1e-10] for row in rows])

    found = compare(near)
    assert found.result == "equal"
    assert found.largest == pytest.approx(1e-10)
    assert compare(near, spec={"verify": {"rtol": 0, "atol": 0}}).result == "differs"


def test_a_row_that_only_the_server_refuses_differs() -> None:
    found = compare(lambda endpoint, rows: REFUSED if [2.0] in rows else double(endpoint, rows))
    # It is left out where one bad row takes the others along.
    assert found.differ == {1}
    assert str(found.worst) == (
        "/predict, one by one: row 1 of sample.json: served nothing (500: the model raised), original [4.0]"
    )


def test_a_row_that_both_refuse_counts_apart() -> None:
    found = compare(rows=([1.0], [0.0]), refused={1: "ValueError: no"})
    assert (found.result, found.rows, found.refused) == ("equal", 1, 1)


def test_a_row_that_only_the_original_refuses_differs() -> None:
    found = compare(
        lambda endpoint, rows: ServedAnswer(200, [[row[0] * 2] for row in rows]),
        rows=([1.0], [0.0]),
        refused={1: "ValueError: no"},
    )
    assert found.differ == {1}
    assert found.worst is not None
    assert str(found.worst).endswith("row 1 of sample.json: served [0.0], original refused (ValueError: no)")


def test_good_rows_beside_a_refused_one_are_compared() -> None:
    asked: list[Any] = []

    def note(endpoint: str, rows: list[Any]) -> ServedAnswer:
        asked.append((endpoint, rows))
        return double(endpoint, rows)

    compare(note, rows=([1.0], [0.0]), refused={1: "ValueError: no"})
    assert asked.count(("predict_batched", [[1.0]])) == 3
    assert asked.count(("predict_batched", [[0.0]])) == 1


def test_a_model_whose_original_answers_nothing_is_not_proven() -> None:
    found = compare(rows=([0.0],), refused={0: "ValueError: no"}, of_sample=0)
    assert found.result == "failed"
    assert any("nothing was compared" in note for note in found.notes)


def test_a_silent_server_is_left_alone() -> None:
    rows = tuple([float(number)] for number in range(1, 40))
    found = compare(lambda endpoint, rows: ServedAnswer(504, detail="too late"), rows=rows)
    assert found.requests == 5
    assert found.result == "differs"
    assert any("did not answer several rows" in note for note in found.notes)


def test_what_the_original_does_itself_is_said_of_rows_that_differ() -> None:
    def random(endpoint: str, rows: list[Any]) -> ServedAnswer:
        return ServedAnswer(200, [[0.5]] * len(rows))

    assert "when it is asked again" in compare(random, again=(1,)).notes[0]
    assert "together with others" in compare(random, batch=(1,)).notes[0]
    assert compare(again=(1,), batch=(1,)).notes == ()


@pytest.mark.parametrize(
    ("value", "dtype", "non_finite", "wanted"),
    [
        (1.5, "float64", "error", 1.5),
        (0.1, "float32", "error", 0.10000000149011612),
        (math.nan, "float64", "error", "refused"),
        (1e300, "float32", "error", "refused"),
        (math.inf, "float64", None, None),
        (True, "float64", "error", 1.0),
        (True, "int64", "error", 1),
        (True, "bool", "error", True),
        ("yes", "string", "error", "yes"),
    ],
)
def test_the_originals_answer_is_brought_to_what_is_served(
    value: Any, dtype: str, non_finite: str | None, wanted: Any
) -> None:
    entry = make_entry(outputs=[("y", dtype, (1,))], non_finite=non_finite)
    expected = expect_answer([[value]], entry)
    assert expected == (None if wanted == "refused" else [[wanted]])


def test_the_report_has_a_line_for_each_model() -> None:
    off = compare(lambda endpoint, rows: ServedAnswer(200, [[7.0]] * len(rows)), of_sample=3)
    results = [off, Verified("raffle", "skipped", notes=("verify: false",))]
    table, *details = format_text(results).split("\n\n")
    # Rows that differ alone are not asked together.
    assert [line.split() for line in table.splitlines()[1:]] == [
        ["m", "differs", "3", "9", "5", "3", "0", "a", "class"],
        ["raffle", "skipped", "-", "-", "-", "-", "-", "-"],
    ]
    assert details == [
        "m:\n  /predict, one by one: row 0 of sample.json, [0]: served 7.0, original 2.0\n  features [1.0]",
        "raffle:\n  verify: false",
    ]
    first, second = json.loads(format_json(results))["models"]
    assert (first["rows_that_differ"], first["largest_difference"], first["compared_with"]) == (3, 5.0, "a class")
    assert first["worst"] == {
        "endpoint": "predict", "way": "one by one", "row": 0, "of_sample": True, "place": "[0]", "served": 7.0,
        "original": 2.0, "features": [1.0],
    }  # fmt: skip
    assert (second["result"], second["worst"], second["notes"]) == ("skipped", None, ["verify: false"])
