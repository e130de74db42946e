"""Every kind of bad model_config.yaml: one line each, `file:line: path: message`."""

from __future__ import annotations

from pathlib import Path

import pytest

from converter.errors import ConfigError
from converter.schema.config_loader import load_spec
from tests.support.models.model_configs import ONNX, PYTHON

NAME = "x.yaml"
NAME_RULE = "a name is up to 128 letters, digits, dots, dashes and underscores, the first a letter or digit"
DTYPES = (
    "float16, float32, float64, int8, int16, int32, int64, uint8, uint16, uint32, uint64, bool, string, "
    "integer, int, float, double, half, str, boolean"
)


def problems_of(folder: Path, content: str | bytes) -> list[str]:
    path = folder / NAME
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        load_spec(path, NAME)
    assert caught.value.exit_code == 2
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


def changed(old: str, new: str, text: str = ONNX) -> str:
    assert text.count(old) == 1, f"{old!r} must stand once in the sample"
    return text.replace(old, new)


INPUT = "input:  {type: array, shape: [-1, 4], dtype: float32}"

CASES = {
    "typo in a key": (
        changed("preferred_batch_size:", "prefered_batch_size:"),
        "x.yaml:12: model.prefered_batch_size: unknown key (did you mean preferred_batch_size?)",
    ),
    "typo in model_args": (
        changed("model_file:", "model_fil:"),
        "x.yaml:8: model.model_args.model_fil: unknown key (did you mean model_file?)",
    ),
    "typo in the class key": (
        changed("class:", "clas:", PYTHON),
        "x.yaml:6: model.model_args.clas: unknown key (did you mean class?)",
    ),
    "typo in a tensor": (
        changed(INPUT, "input: {type: array, shape: [-1, 4], dtyp: float32, dtype: float32}"),
        "x.yaml:10: model.input.dtyp: unknown key (did you mean dtype?)",
    ),
    "typo in a tensor of a list": (
        changed(INPUT, "input:\n  - {shape: [-1, 4], dtype: float32}\n  - {name: b, shap: [-1], dtype: int8}"),
        "x.yaml:12: model.input[1].shape: this key is missing\n"
        "x.yaml:12: model.input[1].shap: unknown key (did you mean shape?)",
    ),
    "key unlike any other": (
        changed("device: cpu", "zzz: 1"),
        "x.yaml:9: model.model_args.zzz: unknown key: the keys here are model_file, device, class, kwargs, method",
    ),
    "key beside model": (
        ONNX + "models: 1\n",
        "x.yaml:15: models: unknown key (did you mean model?)",
    ),
    "duplicate key": (
        ONNX + "  name: other\n",
        "x.yaml:15: model.name: the key stands twice, first on line 2: keep one",
    ),
    "duplicate key below": (
        changed("device: cpu", "device: cpu\n    device: cpu"),
        "x.yaml:10: model.model_args.device: the key stands twice, first on line 9: keep one",
    ),
    "unknown dtype": (
        changed("dtype: float32", "dtype: flaot32"),
        f"x.yaml:10: model.input.dtype: 'flaot32' is not one of {DTYPES} (did you mean float32?)",
    ),
    "dtype that is no text": (
        changed("dtype: float32", "dtype: [float32]"),
        f"x.yaml:10: model.input.dtype: ['float32'] is not one of {DTYPES} (did you mean float32?)",
    ),
    "unknown backend": (
        changed("backend: onnx", "backend: onxx"),
        "x.yaml:5: model.backend: 'onxx' is not one of sklearn, joblib, onnx, python, torch (did you mean onnx?)",
    ),
    "backend unlike any other": (
        changed("backend: onnx", "backend: 7"),
        "x.yaml:5: model.backend: 7 is not one of sklearn, joblib, onnx, python, torch",
    ),
    "first axis is fixed": (
        changed("shape: [-1, 4]", "shape: [1, 4]"),
        "x.yaml:10: model.input.shape: the first axis is the batch and must be -1: write [-1, 4], "
        "and make sure that the model takes any number of rows",
    ),
    "first axis is left out": (
        changed("shape: [-1, 1]", "shape: [3]"),
        "x.yaml:11: model.output.shape: the first axis is the batch and must be -1: write [-1, 3], "
        "and make sure that the model takes any number of rows",
    ),
    "axis of size zero": (
        changed("shape: [-1, 4]", "shape: [-1, 0]"),
        "x.yaml:10: model.input.shape: 0 is not a size: an axis is -1 (any) or at least 1",
    ),
    "missing input": (changed(f"  {INPUT}\n", ""), "x.yaml:1: model.input: this key is missing"),
    "missing dtype": (
        changed(INPUT, "input: {shape: [-1, 4]}"),
        "x.yaml:10: model.input.dtype: this key is missing",
    ),
    "missing model": ("name: a\n", "x.yaml:1: model: this key is missing\n"
                      "x.yaml:1: name: unknown key: the keys here are model"),
    "absolute model_file": (
        changed("rf.onnx", "/data/rf.onnx"),
        "x.yaml:8: model.model_args.model_file: '/data/rf.onnx' must be a relative path inside the model's own folder",
    ),
    "model_file above the folder": (
        changed("rf.onnx", "../rf.onnx"),
        "x.yaml:8: model.model_args.model_file: '../rf.onnx' must be a relative path inside the model's own folder",
    ),
    "model_file with dots in the middle": (
        changed("rf.onnx", "a/../../rf.onnx"),
        "x.yaml:8: model.model_args.model_file: 'a/../../rf.onnx' must be a relative path inside the model's own "
        "folder",
    ),
    "model_file with backslashes": (
        changed("rf.onnx", r"..\rf.onnx"),
        "x.yaml:8: model.model_args.model_file: '..\\\\rf.onnx' must be a relative path inside the model's own folder",
    ),
    "model_file is a URL": (
        changed("rf.onnx", "https://example.org/rf.onnx"),
        "x.yaml:8: model.model_args.model_file: 'https://example.org/rf.onnx' must be a relative path inside the "
        "model's own folder",
    ),
    "device cuda": (
        changed("device: cpu", "device: cuda"),
        "x.yaml:9: model.model_args.device: 'cuda' is not served here: models run on the CPU, write cpu",
    ),
    "class without a colon": (
        changed("models.python_backend.model:Multiply", "models.multiply.Multiply", PYTHON),
        "x.yaml:6: model.model_args.class: 'models.multiply.Multiply' must be written as package.module:ClassName",
    ),
    "date in kwargs": (
        changed("factor: 2.5", "since: 2024-01-31", PYTHON),
        "x.yaml:7: model.model_args.kwargs: only text, numbers, booleans, lists and mappings can be passed on: "
        "Object of type date is not JSON serializable",
    ),
    "bytes in kwargs": (
        changed("factor: 2.5", "key: !!binary aGVsbG8=", PYTHON),
        "x.yaml:7: model.model_args.kwargs: only text, numbers, booleans, lists and mappings can be passed on: "
        "Object of type bytes is not JSON serializable",
    ),
    "name with a slash": (changed("name: RF_10", "name: a/b"), f"x.yaml:2: model.name: {NAME_RULE}"),
    "name that is a number": (
        changed("name: RF_10", "name: 10"),
        "x.yaml:2: model.name: 10 is not text in YAML: write it in quotes",
    ),
    "name that starts with a dot": (changed("name: RF_10", "name: .."), f"x.yaml:2: model.name: {NAME_RULE}"),
    "name of 129 letters": (changed("name: RF_10", f"name: {'a' * 129}"), f"x.yaml:2: model.name: {NAME_RULE}"),
    "unknown endpoint": (
        ONNX + "  endpoints: [predict, predict_batch]\n",
        "x.yaml:15: model.endpoints: 'predict_batch' is not one of predict, predict_batched "
        "(did you mean predict_batched?)",
    ),
    "no endpoint": (
        ONNX + "  endpoints: []\n",
        "x.yaml:15: model.endpoints: name at least one of predict, predict_batched, or leave the key out",
    ),
    "typo in queue": (
        ONNX + "  queue: {max_sizes: 3}\n",
        "x.yaml:15: model.queue.max_sizes: unknown key (did you mean max_size?)",
    ),
    "queue of size zero": (
        ONNX + "  queue: {max_size: 0}\n",
        "x.yaml:15: model.queue.max_size: Input should be greater than or equal to 1",
    ),
    "preferred size of zero": (
        changed("[16, 32, 64, 128]", "[16, 0]"),
        "x.yaml:12: model.preferred_batch_size[1]: Input should be greater than or equal to 1",
    ),
    "negative delay": (
        changed("max_batch_delay_ms: 10", "max_batch_delay_ms: -1"),
        "x.yaml:13: model.max_batch_delay_ms: Input should be greater than or equal to 0",
    ),
    "instances over the bound": (
        ONNX + "  instances: 65\n",
        "x.yaml:15: model.instances: Input should be less than or equal to 64",
    ),
    "file and class for python": (
        changed("    kwargs:", "    model_file: m.joblib\n    kwargs:", PYTHON),
        "x.yaml:7: model.model_args.model_file: has no meaning for backend python: remove it",
    ),
    "class for a file's backend": (
        changed("device: cpu", 'class: "m:M"'),
        "x.yaml:9: model.model_args.class: is for backend python: remove it",
    ),
    "method for onnx": (
        changed("device: cpu", "method: predict"),
        "x.yaml:9: model.model_args.method: is for sklearn and joblib models: remove it",
    ),
    "no class for python": (
        changed('    class: "models.python_backend.model:Multiply"\n', "", PYTHON),
        "x.yaml:5: model.model_args.class: this key is missing: backend python needs package.module:ClassName",
    ),
    "no file for onnx": (
        changed("    model_file: rf.onnx    # .pkl .joblib .onnx .pt .pth, beside this file\n", ""),
        "x.yaml:7: model.model_args.model_file: this key is missing: backend onnx needs the file's name",
    ),
    "several tensors, one without a name": (
        changed(INPUT, "input: [{name: a, shape: [-1], dtype: int8}, {shape: [-1], dtype: int8}]"),
        "x.yaml:10: model.input: several tensors need a name each",
    ),
    "two tensors of one name": (
        changed(INPUT, "input: [{name: a, shape: [-1], dtype: int8}, {name: a, shape: [-1], dtype: int8}]"),
        "x.yaml:10: model.input: two tensors have the same name",
    ),
    "a quotation mark in the name of an input": (
        changed(INPUT, "input: [{name: a, shape: [-1], dtype: int}, {name: 'b\"', shape: [-1], dtype: int}]"),
        "x.yaml:10: model.input[1].name: 'b\"' has '\"' in it, which a name in requests cannot have: fit or export the "
        "model with another",
    ),
    "empty file": ("", "x.yaml:1: the file is empty: it needs the key model"),
    "nothing but a comment": ("# later\n\n", "x.yaml:1: the file is empty: it needs the key model"),
    "bad YAML": (
        changed("description: A classifier.", "description: forest: red"),
        "x.yaml:4: not valid YAML: mapping values are not allowed here: look at the indentation, and put a text with a "
        "colon in it into quotes",
    ),
    "tab": (
        changed("  caching: true", "\tcaching: true"),
        "x.yaml:6: not valid YAML: found character '\\t' that cannot start any token: indent with spaces, not with "
        "tabs",
    ),
    "two documents": (
        ONNX + "---\nmodel: 1\n",
        "x.yaml:15: not valid YAML: but found another document: a file has one model: give the second a folder of its "
        "own",
    ),
    "no list": (
        changed("[16, 32, 64, 128]", "16, 32"),
        "x.yaml:12: model.preferred_batch_size: this is no list: write it as in [1, 2]",
    ),
    "unknown alias": (
        changed("rf.onnx ", "*nowhere "),
        "x.yaml:8: not valid YAML: found undefined alias 'nowhere'",
    ),
    "merge key": (
        changed(INPUT, "input: &t {shape: [-1, 4], dtype: float32}").replace(
            "output: {type: array, shape: [-1, 1], dtype: int64}", "output: {<<: *t, dtype: int64}"
        ),
        "x.yaml:11: merge keys (<<) are not supported: write the keys out",
    ),
    "key that is a list": (
        changed("device: cpu", "? [a, b]\n    : 1"),
        "x.yaml:9: model.model_args: a key must be a word",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CASES))
def test_R32_bad_config_says_where_and_what(tmp_path: Path, case: str) -> None:
    content, expected = CASES[case]
    assert problems_of(tmp_path, content) == expected.split("\n")


def test_tag_of_a_python_object_builds_nothing(tmp_path: Path) -> None:
    text = changed("caching: true", f"caching: !!python/object/apply:os.mkdir [{tmp_path}/made]")
    assert problems_of(tmp_path, text)[0].startswith("x.yaml:6: model.caching: ")
    assert not (tmp_path / "made").exists()


def test_scalar_with_the_tag_of_a_python_object_is_refused_with_its_line(tmp_path: Path) -> None:
    text = changed("caching: true", "caching: !!python/name:os.system ''")
    assert problems_of(tmp_path, text) == [
        "x.yaml:6: not valid YAML: could not determine a constructor for the tag "
        "'tag:yaml.org,2002:python/name:os.system'"
    ]


def test_several_problems_are_said_at_once(tmp_path: Path) -> None:
    text = changed("backend: onnx", "backend: onxx").replace("device: cpu", "device: cuda")
    text = text.replace("dtype: float32", "dtype: flaot").replace("rush_batch_size: 256", "rush_batch_sise: 256")
    assert problems_of(tmp_path, text) == [
        "x.yaml:5: model.backend: 'onxx' is not one of sklearn, joblib, onnx, python, torch (did you mean onnx?)",
        "x.yaml:9: model.model_args.device: 'cuda' is not served here: models run on the CPU, write cpu",
        f"x.yaml:10: model.input.dtype: 'flaot' is not one of {DTYPES} (did you mean float?)",
        "x.yaml:14: model.rush_batch_sise: unknown key (did you mean rush_batch_size?)",
    ]


def test_anchors_that_multiply_are_stopped_early(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    problems = problems_of(tmp_path, "\n".join(lines))
    # Counted while the aliases expand, so the line is that of the value they all stand for.
    assert problems == ["x.yaml:1: the anchors expand to too much"]


def test_anchor_that_holds_itself_is_refused(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "model: &m {model: *m}\n")[0].startswith("x.yaml:1: ")


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "[" * 30_000) == ["x.yaml:1: nested too deeply, or an anchor within itself"]


def test_file_of_300_kilobytes_is_refused_by_its_size(tmp_path: Path) -> None:
    content = ONNX + "#" * (300_000 - len(ONNX))
    assert problems_of(tmp_path, content) == ["x.yaml: 300000 bytes: a model's config is at most 65536 bytes"]


def test_file_at_the_bound_is_read(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text(ONNX + "#" * (64 * 1024 - len(ONNX)))
    assert load_spec(path).name == "RF_10"


def test_file_that_is_not_utf8_says_at_which_byte(tmp_path: Path) -> None:
    assert problems_of(tmp_path, b"model:\n  name: caf\xe9\n") == [
        "x.yaml: not UTF-8 at byte 18: save the file as UTF-8"
    ]


def test_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    with pytest.raises(ConfigError) as caught:
        load_spec(path)
    assert caught.value.problems == (f"{path}: cannot be read: No such file or directory",)


def test_message_shows_the_path_itself_by_default(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("")
    with pytest.raises(ConfigError) as caught:
        load_spec(path)
    assert caught.value.problems == (f"{path}:1: the file is empty: it needs the key model",)


@pytest.mark.parametrize("value", ["5", "true", "1.5"])
def test_endpoints_that_is_no_list_is_a_problem_of_the_config(tmp_path: Path, value: str) -> None:
    assert problems_of(tmp_path, ONNX + f"  endpoints: {value}\n")[0].startswith("x.yaml:15: model.endpoints: ")


@pytest.mark.parametrize("scalar", ["!!bool maybe", "!!timestamp soon", "!!int ''", "!!float low", "2024-02-31"])
def test_scalar_that_its_tag_cannot_read_is_refused_with_its_line(tmp_path: Path, scalar: str) -> None:
    text = changed("description: A classifier.", f"description: {scalar}")
    assert problems_of(tmp_path, text)[0].startswith("x.yaml:4: ")


def test_wrong_suffix_is_said_at_the_line_of_model_file(tmp_path: Path) -> None:
    assert problems_of(tmp_path, changed("rf.onnx", "rf.pt"))[0].startswith("x.yaml:8: model.model_args.model_file: ")
