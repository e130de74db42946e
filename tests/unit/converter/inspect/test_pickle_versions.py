"""What a pickle's marks say of the packages that made it, against what an environment has."""

from __future__ import annotations

from pathlib import Path

import pytest

from converter.environments.interpreter import Interpreter
from converter.environments.model_environment import ModelEnvironment
from converter.inspect.pickle_versions import UnknownPackage, describe_origin, find_skew, name_requirements
from converter.trust.pickle_reader import Contents

FOREST = ("sklearn.ensemble._forest", "RandomForestClassifier")
NUMPY_1, NUMPY_2 = ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")


def environment(**packages: str) -> ModelEnvironment:
    named = {name.replace("_", "-"): version for name, version in packages.items()}
    return ModelEnvironment(Interpreter(Path("/venv"), "3.11", None, named, frozenset()))


@pytest.mark.parametrize(
    ("written", "here", "skew"),
    [
        ({"1.7.0"}, "1.7.2", []),
        ({"1.7.2"}, "1.7.0rc1", []),
        ({"1.3.2"}, "1.7.2", ["scikit-learn 1.7.2"]),
        ({"1.7.2", "1.6.0"}, "1.7.2", ["scikit-learn 1.7.2"]),
        ({"2.7.2"}, "1.7.2", ["scikit-learn 1.7.2"]),
        (set(), "1.7.2", []),
    ],
)
def test_another_minor_release_is_skew_and_a_patch_is_none(written: set[str], here: str, skew: list[str]) -> None:
    assert find_skew(Contents({FOREST}, written), environment(scikit_learn=here, numpy="1.26.4")) == skew


@pytest.mark.parametrize(
    ("mark", "numpy", "skew"),
    [
        (NUMPY_1, "1.26.4", []), (NUMPY_1, "2.4.0", []), (NUMPY_2, "2.0.0rc1", []),
        (NUMPY_2, "1.26.4", ["numpy 1.26.4"]),
    ],
)  # fmt: skip
def test_numpy_2_reads_what_numpy_1_wrote_and_not_the_other_way(
    mark: tuple[str, str], numpy: str, skew: list[str]
) -> None:
    assert find_skew(Contents({mark}), environment(numpy=numpy)) == skew


def test_an_environment_without_scikit_learn_has_skew_only_if_the_file_says_a_version() -> None:
    there = environment(numpy="2.1")
    assert find_skew(Contents({FOREST}, {"1.7.2"}), there) == ["no scikit-learn"]
    assert find_skew(Contents({FOREST}), there) == []


@pytest.mark.parametrize(
    ("contents", "lines"),
    [
        (Contents({FOREST, NUMPY_2}, {"1.7.2"}), ("joblib", "numpy>=2", "scikit-learn==1.7.2")),
        # Its metadata take any numpy, and it is made for numpy 1 alone.
        (Contents({FOREST, NUMPY_1}, {"1.2.1"}), ("joblib", "numpy<2", "scikit-learn==1.2.1")),
        (Contents({FOREST, NUMPY_1}, {"1.4.0"}), ("joblib", "scikit-learn==1.4.0")),
        (Contents({FOREST}, {"1.9.0", "1.10.1"}), ("joblib", "scikit-learn==1.10.1")),
        (Contents({FOREST}, {"1.8.0+local"}), ("joblib", "scikit-learn==1.8.0")),
        (Contents({FOREST}), ("joblib", "scikit-learn")),
        (
            Contents({("imblearn.pipeline", "Pipeline"), ("pandas", "DataFrame"), ("collections", "OrderedDict")}),
            ("imbalanced-learn", "joblib", "pandas"),
        ),
        (Contents({("helper", "Scaler"), ("_loss", "CyHalfSquaredError")}), ("joblib",)),
    ],
)
def test_requirements_are_those_that_the_file_names(contents: Contents, lines: tuple[str, ...]) -> None:
    assert name_requirements(contents, frozenset({"helper"})) == lines


@pytest.mark.parametrize(
    ("written", "line"),
    [("1.7.2", "scikit-learn~=1.7.2"), ("1.8.dev0", "scikit-learn==1.8.*"), ("1.4.1.post1", "scikit-learn~=1.4.1")],
)
def test_a_later_patch_release_is_second_best(written: str, line: str) -> None:
    found = name_requirements(Contents({FOREST}, {written}), frozenset(), exact=False)
    assert found == ("joblib", line)


@pytest.mark.parametrize("module", ["my_package", "packaging"])
def test_a_module_that_could_be_anybodys_package_is_not_guessed_even_if_it_is_here(module: str) -> None:
    with pytest.raises(UnknownPackage, match=module):
        name_requirements(Contents({(f"{module}.steps", "Scaler")}), frozenset())


def test_the_origin_is_said_in_words() -> None:
    assert describe_origin(Contents({FOREST, NUMPY_2}, {"1.7.2"})) == "scikit-learn 1.7.2 and numpy 2"
    assert describe_origin(Contents({FOREST}, {"1.7.2", "1.10.0"})) == "scikit-learn 1.10.0"
    assert describe_origin(Contents({NUMPY_2})) == "numpy 2"
