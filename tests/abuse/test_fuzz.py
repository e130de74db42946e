"""`make fuzz`, the short of it: 500 generated cases of each kind, and half a minute with coverage as the guide."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz import api, codec, guided, heads, subjects
from tests.fuzz.survival import surviving
from tests.support.servers.server import Server
from tests.support.servers.serving import serving

CASES = 500
SECONDS = 30


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("fuzz")
    subjects.write(folder / "models")
    with serving(folder / "models", folder) as running:
        yield running


def test_requests_made_from_openapi_are_answered_as_it_says(server: Server) -> None:
    """By schemathesis; every prediction is checked."""
    with surviving(server):
        assert api.fuzz_api(server, CASES) >= CASES


def test_odd_heads_and_broken_messages_are_answered_in_our_way(server: Server) -> None:
    with surviving(server):
        assert heads.fuzz_heads(server, CASES) >= CASES


def test_any_body_is_decoded_or_refused_with_a_sentence() -> None:
    assert codec.fuzz_decoder(CASES) > CASES // 50


def test_what_is_decoded_is_what_the_body_says() -> None:
    assert codec.fuzz_json(CASES) > CASES // 20


def test_any_answer_is_written_as_it_is_or_refused() -> None:
    assert codec.fuzz_encoder(CASES) > CASES // 20


@pytest.mark.parametrize("target", guided.TARGETS)
def test_nothing_is_found_with_coverage_as_the_guide(target: str) -> None:
    pytest.importorskip("atheris", reason="atheris has no wheel for this Python", exc_type=ModuleNotFoundError)
    assert guided.run(target, SECONDS // len(guided.TARGETS)) > CASES
