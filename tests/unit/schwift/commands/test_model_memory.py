"""What a server says of memory, joined, added up and printed."""

from __future__ import annotations

import json

import pytest

from schwift.commands.model_memory import NoServer, ask_memory, format_json, format_text, join, total_bytes

MIB = 2**20
METRICS = f"""# TYPE schwift_model_memory_bytes gauge
schwift_model_memory_bytes{{model_name="alone"}} {70.0 * MIB}
schwift_model_memory_bytes{{model_name="a"}} {2.0 * MIB}
schwift_model_memory_bytes{{model_name="b"}} {1.0 * MIB}
schwift_pack_memory_bytes{{pack="default"}} {50.0 * MIB}
schwift_other_memory_bytes{{pack="default"}} 1
"""
PACKS = {"alone": None, "a": "default", "b": "default", "asleep": None, "lost": "elsewhere"}
STATES = {"alone": "ready", "a": "ready", "b": "failed", "asleep": "asleep"}


def test_a_process_counts_once_and_what_is_not_known_is_not_zero() -> None:
    found = join(PACKS, STATES, METRICS)
    assert [(item.name, item.state, item.model_bytes, item.process_bytes) for item in found] == [
        ("alone", "ready", 70 * MIB, 70 * MIB),
        ("a", "ready", 2 * MIB, 53 * MIB),
        ("b", "failed", 1 * MIB, 53 * MIB),
        ("asleep", "asleep", None, None),
        ("lost", "unknown", None, None),
    ]
    assert total_bytes(found) == (73 * MIB, 123 * MIB)


def test_the_table_and_the_json_say_the_same() -> None:
    found = join(PACKS, STATES, METRICS)
    assert [line.split() for line in format_text(found).splitlines()] == [
        ["MODEL", "PACK", "STATE", "MB", "PROCESS", "MB"],
        ["alone", "-", "ready", "70.0", "70.0"],
        ["a", "default", "ready", "2.0", "53.0"],
        ["b", "default", "failed", "1.0", "53.0"],
        ["asleep", "-", "asleep", "-", "-"],
        ["lost", "elsewhere", "unknown", "-", "-"],
        ["5", "in", "all", "73.0", "123.0"],
    ]
    shown = json.loads(format_json(found))
    assert (shown["model_bytes"], shown["process_bytes"]) == (73 * MIB, 123 * MIB)
    assert shown["models"][3] == {
        "name": "asleep", "pack": None, "state": "asleep", "model_bytes": None, "process_bytes": None
    }  # fmt: skip


@pytest.mark.parametrize("url", ["localhost:8005", "file:///etc/passwd"])
def test_only_addresses_of_servers_are_asked(url: str) -> None:
    with pytest.raises(NoServer, match="is no address of a server"):
        ask_memory(url)
