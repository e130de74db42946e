"""Models as people have them pass without a setting, however they were saved."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from converter.trust.operator_trust import OperatorTrust
from converter.trust.scan import ALLOWED, FileReport, scan_file
from tests.support.models.honest_models import saving, sklearn_kinds

# So many kinds of scikit-learn alone must pass.
LEAST = 140


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FileReport]:
    folder = tmp_path_factory.mktemp("honest")
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, (name, make) in enumerate(sklearn_kinds.sklearn_models().items()):
            saving.save(make(), folder / f"{name}.joblib", number)
            found[name] = scan_file(folder / f"{name}.joblib", OperatorTrust())
    return found


def test_every_kind_of_scikit_learn_is_let_in(reports: dict[str, FileReport]) -> None:
    assert {name: report.reason for name, report in reports.items() if report.verdict != ALLOWED} == {}
    print(f"{len(reports)} kinds of models are let in")
    assert len(reports) >= LEAST


def test_the_release_that_made_them_is_told(reports: dict[str, FileReport]) -> None:
    assert all(any(item.startswith("scikit-learn 1.") for item in report.versions) for report in reports.values())


def test_nothing_beside_was_needed(reports: dict[str, FileReport]) -> None:
    assert {file for report in reports.values() for file in report.own} == set()


def test_names_that_no_list_has_are_the_operators_to_allow(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"\x80\x02ccompany.steps\nStep\n)\x81.")
    for imports, verdict in (((), "refused"), (("company.*",), ALLOWED), (("company.steps:Step",), ALLOWED)):
        assert scan_file(tmp_path / "m.pkl", OperatorTrust(imports=imports)).verdict == verdict
