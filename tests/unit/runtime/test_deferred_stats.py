"""scipy.stats is imported by who uses it; each case is a process of its own, which has not imported it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.servers.server import ROOT

_BEGIN = """
import sys
from triton_repo_template.runtime.libraries.deferred_stats import defer_stats
there = lambda: "scipy.stats._stats_py" in sys.modules
with defer_stats():
"""
# Names that stay in the stand-in's place would be a trap for whoever imports it later.
_END = """
import scipy.stats
assert type(sys.modules["scipy.stats"]).__name__ == "module" and scipy.stats.norm.cdf(0) == 0.5 and there()
assert not any(type(finder).__name__ == "_Submodules" for finder in sys.meta_path)
"""


def run(inside: str, after: str, before: str = "") -> str:
    block = "".join(f"    {line}\n" for line in inside.strip().splitlines())
    done = subprocess.run(
        [sys.executable, "-c", before + _BEGIN + block + after + _END],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stderr if done.returncode else "right"


@pytest.mark.parametrize(
    "module", ["sklearn.linear_model", "sklearn.ensemble", "sklearn.preprocessing", "sklearn.calibration"]
)
def test_scikit_learn_is_imported_without_it(module: str) -> None:
    assert run(f"import {module}", "assert not there()") == "right"


def test_what_was_deferred_answers_as_the_real_one_when_it_is_called() -> None:
    assert (
        run(
            "from scipy.stats import chi2, rankdata",
            "assert not there() and rankdata([30, 10, 20]).tolist() == [3, 1, 2] and there()\n"
            "assert chi2(2).cdf(0) == 0 and rankdata.__name__ == 'rankdata'",
        )
        == "right"
    )


def test_one_is_called_while_the_block_lasts() -> None:
    assert run("from scipy.stats import gmean\nassert gmean([1, 4]) == 2 and there()", "") == "right"


def test_other_names_are_the_real_ones() -> None:
    assert (
        run(
            "from scipy.stats import norm\nassert there()\nimport scipy.stats\nassert scipy.stats.norm is norm",
            "import scipy.stats\nassert scipy.stats.norm is norm",
        )
        == "right"
    )


@pytest.mark.parametrize("submodule", ["mstats", "_stats_mstats_common", "tests.test_rank"])
def test_a_module_inside_it_is_imported_once_and_after_it(submodule: str) -> None:
    """`mstats` is imported by the package itself, its tests by nobody."""
    name = f"scipy.stats.{submodule}"
    assert (
        run(
            f"import {name} as found\nassert there() and found is sys.modules[{name!r}]",
            f"import importlib\nassert importlib.import_module({name!r}) is found and found.__spec__.name == {name!r}\n"
            "loader = found.__loader__\n"
            "assert type(loader).__name__ == 'SourceFileLoader' and loader is found.__spec__.loader",
        )
        == "right"
    )


def test_a_module_that_is_not_inside_it_is_missing_by_its_name() -> None:
    assert (
        run(
            "try:\n    import scipy.stats.nothing\nexcept ModuleNotFoundError as error:\n    missing = error.name",
            "assert missing == 'scipy.stats.nothing'",
        )
        == "right"
    )


def test_who_has_it_keeps_it() -> None:
    assert (
        run("import scipy.stats as within", "assert within is before", before="import scipy.stats as before") == "right"
    )
