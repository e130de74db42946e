"""Configs as a stranger writes them: each is a build error with its line, and nothing is built (A23, A24, A34).

One build has them all, each in a folder of its own, in a process that may take little memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.support.attacks.configs import config
from tests.support.servers.server import environment

# What the build may take, in MiB: well below the gigabytes that these once took.
MOST_MIB = 1024

SHAPES = {
    "[-1, 400000, 4000]": "one row takes 6400000000 bytes, and 67108864 are the most",
    "[-1, 1000000000000000000000000000000]": "and 67108864 are the most",
    "[-1, 9223372036854775807]": "and 67108864 are the most",
    "[-1, 0]": "0 is not a size: an axis is -1 (any) or at least 1",
    "[-1, -4]": "-4 is not a size: an axis is -1 (any) or at least 1",
    "[-1, true]": "True is not a size: an axis is a whole number, -1 for any",
    "[-1, 4.0]": "4.0 is not a size: an axis is a whole number, -1 for any",
    "[-1, .inf]": "inf is not a size: an axis is a whole number, -1 for any",
    "[-1" + ", 1" * 64 + "]": "65 axes: a tensor has at most 32",
    "[-1, " + "9" * 5000 + "]": "this is not a int",
}
LARGE_INPUTS = "".join(f"    - {{name: x{i}, shape: [-1, 3000000], dtype: float64}}\n" for i in range(4))
TEXTS: dict[str, tuple[bytes | str, str]] = {
    "output": (config(output="[-1, 400000, 4000]"), ":6: model.output.shape: one row takes 6400000000 bytes"),
    "sum": (
        config().replace("  input: {type: array, shape: [-1, 4], dtype: float32}\n", f"  input:\n{LARGE_INPUTS}"),
        ":6: model.input[0].shape: one row takes 96000000 bytes",
    ),
    "control": (config(more="  description: a\x01b"), ":7: the character U+0001 cannot stand in YAML"),
    "nul": (config(more="  description: a\x00b"), ":7: the character U+0000 cannot stand in YAML"),
    "escape": (config(more="  description: |\n    a\n    \x1b[31mred"), ":9: the character U+001B cannot stand"),
    "tab": (config(more="\tdescription: a"), ":7: not valid YAML: found character '\\t' that cannot start any token"),
    "alias": (config(more="  description: &a x\n  version: *b"), ":8: not valid YAML: found undefined alias"),
    "anchors": (config(more="  description: &a x\n  version: &a y"), ":8: not valid YAML: second occurrence"),
    "tag": (config(more="  description: !!python/name:os.system x"), ":7: not valid YAML"),
    "call": (config(more="  description: !!python/object/apply:os.system [id]"), ":7: model.description"),
    "date": (config(more="  description: 2020-01-01"), ":7: model.description: Input should be a valid string"),
    "huge": (config(more="  versions: " + "9" * 5000), ":7: model.versions: this is not a int"),
    "surrogate": (
        config(more='  description: "\\ud800"'), ":7: model.description: the text cannot be written as UTF-8",
    ),
    "twice": (config(more="  model_args: &a {x: *a}"), ":7: model.model_args: the key stands twice"),
    "deep": (config(more="  description: " + "[" * 5000 + "]" * 5000), ":7: nested too deeply, or an anchor"),
    "itself": (config(more="  kwargs: &a [*a]"), ":7: nested too deeply, or an anchor within itself"),
    "documents": (config(more="---\nmodel: 1"), ":7: not valid YAML"),
    "utf16": (config().encode("utf-16"), ": not UTF-8 at byte 0: save the file as UTF-8"),
    "latin": (config().encode() + b"  description: \xff", ": not UTF-8 at byte "),
}  # fmt: skip
BOMB = ["  a0: &a0 [x, x, x, x, x, x, x, x, x]"]
BOMB += [f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
BOMBS = {
    "billions": (config(more="\n".join(BOMB)), "the anchors expand to too much"),
    "long": (config(more="#" * 300 * 1024), " bytes: a model's config is at most 65536 bytes"),
}
FILES = [
    "/etc/passwd", "//server/m.joblib", "file:///etc/m.joblib", "https://example.invalid/m.joblib",
    "s3://bucket/m.joblib", "../other/m.joblib", "a/../../m.joblib", "'C:\\m.joblib'", "'\\\\server\\m.joblib'",
    "'..'", "'.'",
]  # fmt: skip
CLASSES = ["http://x/m:C", "/tmp/m:C", "..m:C", "m", "m:C()", "os;m:C", "a/b:C"]
NAMES = ["../m", "/m", "http://m", '"m\\n"', "a/b", "'.hidden'", "''", "m" * 200, "é", "'m m'"]

Errors = Callable[[str], str]


def folder_of(group: str, place: int) -> str:
    return f"{group}{place}"


def texts() -> dict[str, bytes | str]:
    """Every config, by its folder."""
    found: dict[str, bytes | str] = {
        **{folder_of("shape", i): config(shape=shape) for i, shape in enumerate(SHAPES)},
        **{name: raw for name, (raw, _) in {**TEXTS, **BOMBS}.items()},
        **{folder_of("file", i): config(file=file) for i, file in enumerate(FILES)},
        **{folder_of("name", i): config().replace("name: m\n", f"name: {name}\n") for i, name in enumerate(NAMES)},
    }
    for i, named in enumerate(CLASSES):
        text = config(backend="python").replace("{model_file: m.joblib}", f"{{class: '{named}'}}")
        found[folder_of("class", i)] = text
    return found


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> Errors:
    """What the build says of a folder's config."""
    folder = tmp_path_factory.mktemp("configs")
    (folder / "tmp").mkdir()
    for name, raw in {**texts(), "marked": b"\xef\xbb\xbf" + config().encode()}.items():
        model = folder / "models" / name
        model.mkdir(parents=True)
        (model / "m.joblib").write_bytes(b"\x80\x04N.")
        (model / "model_config.yaml").write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    done = subprocess.run(
        ["sh", "-c", f'ulimit -v {MOST_MIB * 1024}; exec "$0" -m schwift build-repo --models models', sys.executable],
        cwd=folder, env={**environment(folder, {}), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert sorted(os.listdir(folder)) == ["models", "tmp"]
    lines = done.stderr.splitlines()
    assert lines[-1] == "Nothing was written."

    def said(name: str) -> str:
        return "\n".join(line for line in lines if line.startswith(f"error: models/{name}/"))

    return said


@pytest.mark.parametrize("place", range(len(SHAPES)))
def test_A34_absurd_shape_is_a_build_error_with_its_line(errors: Errors, place: int) -> None:
    name = folder_of("shape", place)
    assert f"models/{name}/model_config.yaml:5: model.input.shape" in errors(name)
    assert list(SHAPES.values())[place] in errors(name)


@pytest.mark.parametrize("name", TEXTS)
def test_A34_text_that_no_config_has_is_a_build_error_with_its_line(errors: Errors, name: str) -> None:
    assert f"models/{name}/model_config.yaml{TEXTS[name][1]}" in errors(name)


def test_A34_byte_order_mark_is_no_error(errors: Errors) -> None:
    assert errors("marked") == ""


@pytest.mark.parametrize("name", BOMBS)
def test_A23_anchors_that_expand_and_long_configs_are_refused(errors: Errors, name: str) -> None:
    assert BOMBS[name][1] in errors(name)


@pytest.mark.parametrize("place", range(len(FILES)))
def test_A24_model_file_elsewhere_is_refused(errors: Errors, place: int) -> None:
    name = folder_of("file", place)
    assert f"models/{name}/model_config.yaml:4: model.model_args.model_file: " in errors(name)
    assert "must be a relative path inside the model's own folder" in errors(name)


@pytest.mark.parametrize("place", range(len(CLASSES)))
def test_A24_class_that_is_no_name_is_refused(errors: Errors, place: int) -> None:
    name = folder_of("class", place)
    assert f"models/{name}/model_config.yaml:4: model.model_args.class: " in errors(name)
    assert "must be written as package.module:ClassName" in errors(name)


@pytest.mark.parametrize("place", range(len(NAMES)))
def test_A24_name_that_is_no_name_is_refused(errors: Errors, place: int) -> None:
    name = folder_of("name", place)
    assert f"models/{name}/model_config.yaml:2: model.name: a name is up to 128 letters" in errors(name)
