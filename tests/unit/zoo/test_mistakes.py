"""`make mistakes` finds where a mistake is caught, and does not let one pass that nobody tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.zoo.mistake import Mistake, edit
from tests.zoo.mistakes import MISTAKES, judge, report
from tests.zoo.stages import Trial, build, check, make_new, prepare

CAUGHT = {
    "typo in input": "check",
    "a feature too many": "check",
    "a forgotten scaler, right sample": "check",
    "new: a notebook": "new",
}
THROUGH = ["columns in another order", "a forest without its scaler, sample of real rows"]


def test_there_are_enough_of_them_and_each_has_its_own_name() -> None:
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES) >= 60
    assert sum(mistake.told and mistake.sample != "new" for mistake in MISTAKES) >= 45


def test_mistakes_are_followed_until_they_are_caught(tmp_path: Path) -> None:
    chosen = [mistake for mistake in MISTAKES if mistake.name in (*CAUGHT, *THROUGH)]
    trials = prepare(chosen, tmp_path)
    for step in (make_new, check, build):
        step(trials, tmp_path)
    assert {trial.mistake.name: trial.stage for trial in trials} == {**CAUGHT, **dict.fromkeys(THROUGH, "request")}
    results = {trial.mistake.name: judge(trial) for trial in trials}
    assert all(results[name] == "caught" for name in CAUGHT), report(trials, whole=True)
    # The forest is served wrong, and its sample says so.
    assert [results[name] for name in THROUGH] == ["NOT ASKED", "warned"], report(trials, whole=True)


TYPO = Mistake("a typo", "flowers", edit("input", "inptu"), "did you mean input")
PLACE = "models/m/model_config.yaml:7: model.inptu: unknown key"


@pytest.mark.parametrize(
    ("stage", "message", "served", "result"),
    [
        ("check", f"{PLACE} (did you mean input?)", "", "caught"),
        ("load", "did you mean input?", "", "NO PLACE"),
        ("check", PLACE, "", "NO REMEDY"),
        ("request", "", "right", "right"),
        ("request", "row 0", "wrong", "SERVED WRONG"),
        ("request", "422", "refused", "SERVED REFUSED"),
    ],
)
def test_a_mistake_that_can_be_told_has_to_be_told_with_place_and_remedy(
    stage: str, message: str, served: str, result: str, tmp_path: Path
) -> None:
    trial = Trial(TYPO, tmp_path, stage, message, [], served)  # type: ignore[arg-type]
    assert judge(trial) == result
