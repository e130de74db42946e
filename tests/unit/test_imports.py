"""The direction of imports, tried in real processes: what a package loads, not what its text seems to say."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

_LIST = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted(sys.modules)))
"""

OURS = ("converter", "schwift", "adapter", "triton_repo_template")
ROOT = Path(__file__).resolve().parents[2]
# From low to high: a room imports those of the lines before its own, and none of its own line.
ADAPTER = (
    ("errors",),
    ("error_codes", "deadline_timer", "request_timings"),
    ("codec", "workers", "backend"),
    ("limits", "batching"),
    ("sharing", "packs"),
    ("lifecycle",),
    ("bindings",),
    ("predictor",),
    ("telemetry",),
    ("reload", "page"),
    ("http",),
    ("dialects",),
    ("wiring", "sockets"),
    ("app",),
    ("__main__",),
)
CONVERTER = (
    ("errors", "progress", "table"),
    ("schema",),
    ("environments", "keys", "reference", "trust"),
    ("inspect",),
    ("repository",),
    ("packing",),
    ("authoring",),
    ("checking",),
    ("build",),
    ("live_switch", "report", "converting"),
    ("cli",),
    ("__main__",),
)


def loaded(*modules: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", _LIST, *modules], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def modules_of(package: str, room: str) -> list[str]:
    """All modules of a room, which is a folder or one file."""
    folder = ROOT / package / room
    files = sorted(folder.glob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    return [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]


def rooms_of(package: str) -> set[str]:
    found = {file.stem for file in (ROOT / package).glob("*.py")}
    return (found | {file.parent.name for file in (ROOT / package).glob("*/__init__.py")}) - {"__init__"}


@pytest.mark.parametrize(("package", "order"), [("adapter", ADAPTER), ("converter", CONVERTER)])
def test_every_room_has_its_place(package: str, order: tuple[tuple[str, ...], ...]) -> None:
    assert sorted(room for rooms in order for room in rooms) == sorted(rooms_of(package))


@pytest.mark.parametrize(
    ("package", "room"),
    [(p, room) for p, order in (("adapter", ADAPTER), ("converter", CONVERTER)) for rooms in order for room in rooms],
)
def test_rooms_import_lower_ones_alone(package: str, room: str) -> None:
    order = ADAPTER if package == "adapter" else CONVERTER
    at = next(number for number, rooms in enumerate(order) if room in rooms)
    lower = {name for rooms in order[:at] for name in rooms} | {room}
    loads = {name.split(".")[1] for name in loaded(*modules_of(package, room)) if name.startswith(f"{package}.")}
    assert loads <= lower


def test_no_test_imports_another() -> None:
    """What several tests need is a helper: in tests/support, or beside them."""
    tests = {file.stem for file in (ROOT / "tests").rglob("test_*.py")}
    for file in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("tests."):
                names = {*str(node.module).split("."), *(alias.name for alias in node.names)}
                assert not names & tests, file


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.split(".")[0] in OURS}


def third_party(modules: set[str]) -> set[str]:
    heavy = ("numpy", "click", "jinja2", "fastapi", "starlette", "grpc", "tritonclient", "joblib", "sklearn", "torch")
    return {name for name in modules if name.split(".")[0] in heavy}


def test_spec_imports_stdlib_pydantic_and_yaml_only() -> None:
    modules = loaded("converter.schema.config_loader", "converter.schema.manifest", "converter.schema.settings")
    assert third_party(modules) == set()
    assert {name for name in ours(modules) if not name.startswith("converter.schema")} == {
        "converter",
        "converter.errors",
    }


def test_adapter_imports_nothing_of_the_converter_but_spec_and_errors() -> None:
    modules = loaded("adapter.__main__", "adapter.app", "adapter.backend.grpc_control")
    assert {name for name in ours(modules) if not name.startswith(("adapter", "converter.schema"))} == {
        "converter",
        "converter.errors",
    }


def test_opentelemetrys_sdk_is_not_loaded_where_no_traces_are_asked_for() -> None:
    modules = loaded("adapter.__main__", "adapter.app", "adapter.backend.triton")
    assert not [name for name in modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))]
    assert "adapter.telemetry.tracing" not in modules


def test_converter_imports_neither_the_adapter_nor_schwift() -> None:
    everything = [module for rooms in CONVERTER for room in rooms for module in modules_of("converter", room)]
    assert {name.split(".")[0] for name in ours(loaded(*everything))} == {"converter", "triton_repo_template"}


def test_schwift_does_not_import_the_adapter() -> None:
    modules = loaded("schwift.__main__", "schwift.serve", "schwift.triton.standalone", "schwift.triton.installation")
    assert "adapter" not in {name.split(".")[0] for name in modules}


def test_serve_keeps_the_builds_libraries_out_of_its_process() -> None:
    assert third_party(loaded("schwift.serve")) == set()


@pytest.mark.parametrize("module", ["batch", "config", "conform", "errors", "loaders", "threads"])
def test_runtime_imports_neither_package_and_loads_heavy_libraries_late(module: str) -> None:
    modules = loaded(f"triton_repo_template.runtime.{module}")
    assert {name for name in ours(modules) if not name.startswith("triton_repo_template")} == set()
    assert {name.split(".")[0] for name in third_party(modules)} <= {"numpy"}


@pytest.mark.parametrize(
    "module",
    [
        "adapter.limits.admission",
        "adapter.limits.breaker",
        "adapter.limits.breakers",
        "adapter.limits.access_policy",
        "adapter.limits.api_keys",
        "adapter.telemetry.audit",
        "adapter.limits.client_address",
        "adapter.limits.rate_limit",
        "adapter.errors",
        "adapter.bindings",
        "adapter.predictor",
        "adapter.lifecycle.reconciler",
        "adapter.codec.codec",
        "adapter.telemetry.access_log",
        "adapter.telemetry.log_setup",
        "adapter.telemetry.tracing",
    ],
)
def test_policies_and_service_do_not_know_the_web(module: str) -> None:
    modules = loaded(module)
    assert not {name for name in modules if name.split(".")[0] in ("fastapi", "starlette", "uvicorn")}


@pytest.mark.parametrize(
    "module", ["converter.schema.model", "converter.repository.plan", "converter.repository.writer", "converter.errors"]
)
def test_click_is_the_command_lines_alone(module: str) -> None:
    assert not {name for name in loaded(module) if name.split(".")[0] == "click"}
