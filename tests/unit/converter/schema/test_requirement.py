"""One requirement is a name and its versions: nothing that runs, and nothing that comes from elsewhere."""

from __future__ import annotations

import pytest

from converter.schema.requirement import check_requirement, name_of


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (" numpy ", "numpy"), ("scikit-learn >=1.3, <1.4", "scikit-learn<1.4,>=1.3"), ("torch==2.2.0+cpu",) * 2,
        ("a[b,c]==1.*", "a[b,c]==1.*"), ('x; sys_platform == "linux"',) * 2,
    ],
)  # fmt: skip
def test_a_requirement_is_taken_in_its_plain_form(text: str, plain: str) -> None:
    assert check_requirement(text) == plain


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-e .", "has an option of pip"),
        ("--index-url https://example.org", "has an option of pip"),
        ("numpy --hash=sha256:00", "has an option of pip"),
        ("numpy @ https://example.org/numpy.whl", "names an address"),
        ("numpy@file:///tmp/x", "names an address"),
        ("https://example.org/numpy.whl", "names an address"),
        ("./numpy", "names a file"),
        ("../numpy", "names a file"),
        ("/srv/wheels/numpy", "names a file"),
        ("wheels/numpy", "names a file"),
        ("numpy-1.0-py3-none-any.whl", "names a file"),
        ("numpy==", "is no requirement"),
        ("numpy=1.0", "is no requirement"),
        ("${HOME}", "is no requirement"),
        ("", "is no requirement"),
        ("n" * 1001, "is longer than 1000 characters"),
    ],
)
def test_what_is_more_is_refused_with_the_remedy(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        check_requirement(text)
    assert ": write " in str(caught.value) or ": remove it" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_names_are_compared_as_the_index_does() -> None:
    assert {name_of(line) for line in ("Scikit_Learn==1.3", "scikit.learn", "scikit-learn[x]>1")} == {"scikit-learn"}
