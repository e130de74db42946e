"""The runtime imports nothing of ours: its copies of what crosses a process are those of converter/schema/wire.py."""

from __future__ import annotations

from typing import get_args

import pytest

from converter.schema import wire
from triton_repo_template.runtime import config, errors, loaders, wake


def error_classes(kind: type[errors.ModelError]) -> list[type[errors.ModelError]]:
    return [kind, *(found for below in kind.__subclasses__() for found in error_classes(below))]


def test_every_error_code_of_the_runtime_is_known() -> None:
    assert sorted({kind.code for kind in error_classes(errors.ModelError)}) == sorted(get_args(wire.ErrorCode))


@pytest.mark.parametrize("code", get_args(wire.ErrorCode))
def test_errors_of_the_runtime_begin_with_the_mark(code: wire.ErrorCode) -> None:
    (kind,) = (kind for kind in error_classes(errors.ModelError) if kind.code == code)
    assert str(kind("a sentence")) == f"{wire.error_mark(code)} a sentence"


def test_wake_key_and_canary() -> None:
    assert (wake.KEY_FILE, wake.CANARY_SUFFIX) == (wire.WAKE_KEY_FILE, wire.CANARY_SUFFIX)


def test_names_of_packed_strings() -> None:
    assert (config.BYTES_SUFFIX, config.LENGTHS_SUFFIX) == (wire.BYTES_SUFFIX, wire.LENGTHS_SUFFIX)


def test_the_mark_of_a_missing_string() -> None:
    assert config.NULL_TEXT == wire.NULL_TEXT


def test_how_a_process_knows_its_environment() -> None:
    for name in ("ENVIRONMENT_FILE", "ENVIRONMENT_VARIABLE", "MISSING_ENVIRONMENT", "OWN_ENVIRONMENT"):
        assert getattr(loaders, name) == getattr(wire, name)
