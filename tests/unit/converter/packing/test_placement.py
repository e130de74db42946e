"""Which models share a process, and what keeps a model out of it."""

from __future__ import annotations

from typing import Any

import pytest

from converter.errors import ConfigError
from converter.packing.placement import Packable, Placement, place_models
from tests.support.fakes.entries import make_entry
from tests.support.models.packable_models import PACKED
from tests.support.models.sample_models import OPTIONS, model_spec, options_of

HOST = "default_pack_direct"
KEY = "3f2a91c0" * 4


def packable(
    name: str, backend: str = "joblib", own_code: str | None = None, environment: str | None = None, **keys: Any
) -> Packable:
    spec = model_spec(backend, name=name, **keys)
    return Packable(f"models/{name}/model_config.yaml", spec, own_code, environment)


def place(*candidates: Packable, options: Any = PACKED, **carried: str) -> Placement:
    entries = (make_entry(name).model_copy(update={"host": host}) for name, host in carried.items())
    return place_models(candidates, options, entries)


def test_libraries_share_the_default_pack() -> None:
    found = place(packable("a"), packable("b", "sklearn"), packable("c", "onnx"))
    assert found == Placement({"a": HOST, "b": HOST, "c": HOST})


def test_packs_are_off_unless_a_config_names_one() -> None:
    found = place(packable("a"), packable("b", pack="mates"), packable("c", pack=True), options=OPTIONS)
    assert found.hosts == {"b": "mates_pack_direct", "c": HOST}


def test_a_pack_of_one_is_none_unless_its_config_names_it() -> None:
    assert place(packable("a"), packable("b", pack=False)).hosts == {}
    assert place(packable("a", pack=True), packable("b", pack=False)).hosts == {"a": HOST}


def test_a_model_joins_those_that_are_carried_over() -> None:
    assert place(packable("a"), other=HOST).hosts == {"a": HOST}


def test_each_environment_has_a_process_of_its_own() -> None:
    theirs = [packable(name, environment=KEY) for name in ("a", "b")]
    found = place(*theirs, packable("c"), packable("d"), packable("e", environment="0" * 32))
    apart = "default-3f2a91c0_pack_direct"
    assert found.hosts == {"a": apart, "b": apart, "c": HOST, "d": HOST}


def test_graphs_run_in_schwifts_own_environment() -> None:
    options = options_of(pack="libraries", model_env="/somewhere")
    found = place(*(packable(name, "onnx") for name in "ab"), packable("c"), packable("d"), options=options)
    assert found.hosts == {
        "a": "default-schwift_pack_direct", "b": "default-schwift_pack_direct", "c": HOST, "d": HOST,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"caching": True}, "caching"),
        ({"priority": {"levels": 2}}, "priority"),
        ({"triton": {"parameters": {"a": "b"}}}, "triton"),
        ({"max_batch_delay_ms": 5}, "max_batch_delay_ms"),
        ({"preferred_batch_size": [16, 32]}, "preferred_batch_size"),
        ({"max_batch_size": 64}, "max_batch_size"),
        ({"rush_batch_size": 64}, "rush_batch_size"),
        ({"queue": {"max_size": 5}}, "queue"),
        ({"endpoints": ["predict"]}, "endpoints"),
        ({"instances": 2}, "instances"),
        ({"preferred_batch_size": [64], "instances": 2}, "preferred_batch_size and instances"),
    ],
)
def test_what_a_pack_has_for_all_keeps_out_who_wants_another(keys: dict[str, Any], named: str) -> None:
    found = place(packable("a"), packable("b"), packable("c", **keys))
    assert found.hosts == {"a": HOST, "b": HOST}
    assert found.notes == (f"pack default: kept out by {named}, each in a process of its own: c",)


LARGE_KEYS: dict[str, Any] = {"preferred_batch_size": [16, 32, 64, 128], "rush_batch_size": 256}


def test_models_with_other_settings_in_common_share_a_process_of_their_own() -> None:
    theirs = [packable(name, **LARGE_KEYS) for name in "cd"]
    found = place(packable("a"), packable("b"), *theirs, packable("e", rush_batch_size=64))
    apart = found.hosts["c"]
    assert found.hosts == {"a": HOST, "b": HOST, "c": apart, "d": apart}
    pack = apart.removesuffix("_pack_direct")
    # The name of each build of these settings, whoever else is there.
    assert pack == "default-rcd187b5"
    assert place(*theirs).hosts == {"c": apart, "d": apart}
    assert found.notes == (
        "pack default: kept out by rush_batch_size, each in a process of its own: e",
        f"pack {pack}: apart from pack default by preferred_batch_size and rush_batch_size: c, d",
    )


def test_each_settings_and_each_environment_has_a_process_of_its_own() -> None:
    keys = [LARGE_KEYS, {**LARGE_KEYS, "max_batch_delay_ms": 5}, {"instances": 2}, {"queue": {"max_size": 5}}]
    models = {
        f"{place_}{number}{one}": packable(f"{place_}{number}{one}", environment=environment, **each)
        for place_, environment in (("here", None), ("there", KEY))
        for number, each in enumerate(keys)
        for one in "ab"
    }
    found = place(*models.values())
    pairs = {(found.hosts[f"{name[:-1]}a"], found.hosts[f"{name[:-1]}b"]) for name in models}
    assert all(one == other for one, other in pairs)
    assert len(pairs) == 8
    assert {one.endswith("-3f2a91c0_pack_direct") for one, _ in pairs} == {True, False}


def test_a_model_joins_those_with_its_settings_that_are_carried_over() -> None:
    apart = place(*(packable(name, **LARGE_KEYS) for name in "ab")).hosts["a"]
    assert place(packable("c", **LARGE_KEYS), other=apart).hosts == {"c": apart}
    assert place(packable("c", **LARGE_KEYS), other=HOST).hosts == {}


def test_a_named_pack_is_never_split() -> None:
    mates = [packable(name, pack="mates") for name in "abc"]
    found = place(*mates, *(packable(name, pack="mates", **LARGE_KEYS) for name in "de"), options=OPTIONS)
    assert found.hosts == dict.fromkeys("abc", "mates_pack_direct")
    with pytest.raises(ConfigError, match="or for models with other batch settings: rename it"):
        place(*(packable(name, **LARGE_KEYS) for name in "ab"), packable("c", pack="default-rcd187b5"))


def test_what_is_written_and_like_the_default_keeps_nobody_out() -> None:
    written: dict[str, Any] = {"preferred_batch_size": [32], "max_batch_delay_ms": 10, "rush_batch_size": 32}
    assert place(packable("a"), packable("b", **written)).hosts == {"a": HOST, "b": HOST}


def test_a_named_pack_has_what_most_of_its_models_have() -> None:
    two = [packable(name, pack="mates", instances="auto", preferred_batch_size=[64]) for name in ("a", "b")]
    found = place(*two, packable("c", pack="mates"), options=OPTIONS)
    assert found.hosts == dict.fromkeys("ab", "mates_pack_direct")
    assert found.notes == (
        "pack mates: kept out by preferred_batch_size and max_batch_size and rush_batch_size and instances, each in a "
        "process of its own: c",
    )


def test_code_of_ones_own_is_never_packed() -> None:
    code = "backend python is code of its own"
    found = place(packable("a"), packable("b"), packable("c", "python", code))
    assert found == Placement({"a": HOST, "b": HOST})
    with pytest.raises(ConfigError) as refused:
        place(packable("c", "python", code, pack="mates"), packable("d", "torch", "reason", pack=True))
    assert list(refused.value.problems) == [
        "models/c/model_config.yaml: model.pack: backend python is code of its own, and a pack is for models of known "
        "libraries alone: remove it",
        "models/d/model_config.yaml: model.pack: reason, and a pack is for models of known libraries alone: remove it",
    ]


def test_two_packs_of_one_name_are_refused() -> None:
    theirs = [packable(name, environment=KEY) for name in ("a", "b")]
    with pytest.raises(ConfigError, match=r"pack: default-3f2a91c0: the pack default has that name in one of its env"):
        place(*theirs, packable("c", pack="default-3f2a91c0"))
