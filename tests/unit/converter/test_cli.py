"""The command `schwift`: what it prints, and what it ends with."""

from __future__ import annotations

import pickle
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from converter.errors import PortInUse, RuntimeMissing
from converter.schema.settings import Settings, env_name
from schwift.cli import main
from schwift.triton import installation
from schwift.triton.installation import Check
from tests.support.models.sample_models import add_joblib, add_model, model_yaml


@pytest.fixture(autouse=True)
def clear_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for field in Settings.model_fields:
        for name in {env_name(field), field.upper(), field}:
            monkeypatch.delenv(name, raising=False)
    # What is pickled here is no model.
    monkeypatch.setenv("SCHWIFT_CHECK", "off")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("converter.cli.available_cores", lambda: 2)


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_build_prints_a_table_and_ends_with_zero(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "forest", version="2.0", rush_batch_size=256)
    add_joblib(
        tmp_path / "models", "x", endpoints="predict", input={"shape": [-1, 2, -1], "dtype": "str"},
        output=[{"name": "a", "shape": [-1], "dtype": "int"}, {"name": "b", "shape": [-1, 5], "dtype": "bool"}],
    )  # fmt: skip
    (tmp_path / "models" / "notes").mkdir()
    result = run("build-repo")
    assert result.exit_code == 0
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert [line.split() for line in lines[:-1]] == [
        ["MODEL", "VERSION", "NUMBER", "BACKEND", "TRITON", "MODELS", "MAX", "ROWS", "INSTANCES", "INPUT",
         "OUTPUT", "STATE"],
        ["forest", "2.0", "1", "joblib", "forest", "+", "forest_direct", "256", "1", "features",
         "float32[N,4]", "predictions", "float32[N,3]", "added"],
        ["x", "1.0.0", "1", "joblib", "x_direct", "32", "1", "features", "string[N,2,?]", "a", "int64[N,1],", "b",
         "bool[N,5]", "added"],
        ["note:", "models/notes:", "no", ".yaml", "file,", "so", "not", "a", "model"],
    ]  # fmt: skip
    files = sum(path.is_file() for path in (tmp_path / "model_repository").rglob("*"))
    assert lines[-1] == f"{tmp_path}/model_repository: written, {files} files."


def states(result: Result) -> dict[str, str]:
    rows = [line.split("  ") for line in result.stdout.splitlines() if "_direct  " in line]
    return {row[0].strip(): row[-1].strip() for row in rows}


def test_second_build_is_up_to_date(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "a")
    assert states(run("build-repo")) == {"a": "added"}
    again = run("build-repo")
    assert again.exit_code == 0
    assert states(again) == {"a": "unchanged"}
    assert f"{tmp_path}/model_repository: up to date, " in again.stdout


def test_state_names_the_model_that_changed_and_no_other(tmp_path: Path) -> None:
    for name in ("a", "b"):
        add_joblib(tmp_path / "models", name)
    run("build-repo")
    add_joblib(tmp_path / "models", "b", description="another")
    assert states(run("build-repo", "--check")) == {"a": "unchanged", "b": "would change"}
    assert states(run("build-repo")) == {"a": "unchanged", "b": "changed"}


def test_check_writes_nothing_and_ends_with_zero(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "a")
    result = run("build-repo", "--check")
    assert result.exit_code == 0
    assert states(result) == {"a": "would be added"}
    lines = result.stdout.splitlines()
    assert "would add     a_direct/1/source/models/a/m.joblib" in lines
    assert lines[-1] == f"{tmp_path}/model_repository: would change; nothing was written."
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_check_lists_each_kind_of_change(tmp_path: Path) -> None:
    folder = add_joblib(tmp_path / "models", "a")
    run("build-repo")
    (folder / "m.joblib").write_bytes(pickle.dumps("new"))
    (folder / "model_config.yaml").rename(folder / "a.yaml")
    lines = run("build-repo", "--check").stdout.splitlines()
    source = "a_direct/2/source/models/a"
    assert [line for line in lines if line.startswith("would ")] == [
        f"would add     {source}/a.yaml",
        "would change  a/config.pbtxt",
        f"would change  {source}/m.joblib",
        "would change  a_direct/config.pbtxt",
        "would change  schwift.json",
        f"would remove  {source}/model_config.yaml",
    ]
    run("build-repo")
    assert run("build-repo", "--check").stdout.splitlines()[-1].endswith(": up to date; nothing was written.")


def test_bad_config_is_one_line_each_and_ends_with_two(tmp_path: Path) -> None:
    add_model(tmp_path / "models", "a", model_yaml(backend="onxx"), {})
    add_model(tmp_path / "models", "b", "", {})
    result = run("build-repo")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "error: models/a/model_config.yaml:3: model.backend: 'onxx' is not one of sklearn, joblib, onnx, python, torch "
        "(did you mean onnx?)",
        "error: models/b/model_config.yaml:1: the file is empty: it needs the key model",
        "Nothing was written.",
    ]
    assert not (tmp_path / "model_repository").exists()


def test_bad_model_file_ends_with_two(tmp_path: Path) -> None:
    add_model(tmp_path / "models", "a", model_yaml(), {"m.joblib": b""})
    result = run("build-repo")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (
        2,
        "error: models/a/model_config.yaml: m.joblib is empty: write the model's file again",
    )


def test_bad_setting_ends_with_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_joblib(tmp_path / "models", "a")
    (tmp_path / ".env").write_text("MAX_BATCH_SIZE=lots\n")
    result = run("build-repo")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: MAX_BATCH_SIZE: Input should be a valid integer")


def test_unknown_model_is_said_with_a_suggestion(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "iris_forest")
    result = run("build-repo", "--model", "iris_forrest")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "error: --model iris_forrest: no model has this name (did you mean iris_forest?): there are iris_forest",
        "Nothing was written.",
    ]


def test_named_models_alone_are_in_the_table(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        add_joblib(tmp_path / "models", name)
    assert states(run("build-repo", "--model", "c", "--model", "a")) == {"a": "added", "c": "added"}


def test_missing_models_folder_ends_with_two(tmp_path: Path) -> None:
    result = run("build-repo", "--models", "gone")
    assert result.exit_code == 2
    assert f"error: {tmp_path}/gone: no such folder: name the folder that holds the models" in result.stderr


def test_foreign_output_ends_with_one_and_is_left(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "a")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").write_text("x")
    result = run("build-repo", "--output", "work")
    assert result.exit_code == 1
    assert result.stderr == (
        f"error: {tmp_path}/work is there and was not written by `schwift build-repo`: name another folder with "
        "--output\n"
    )
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["thesis.txt"]


def test_options_win_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_joblib(tmp_path / "mine", "a")
    monkeypatch.setenv("MODEL_DIRECTORY", "gone")
    monkeypatch.setenv("SCHWIFT_REPOSITORY", "elsewhere")
    assert run("build-repo", "--models", "mine", "--output", "here").exit_code == 0
    assert (tmp_path / "here" / "a" / "config.pbtxt").is_file()
    assert not (tmp_path / "elsewhere").exists()


def test_environment_names_the_folders(tmp_path: Path) -> None:
    add_joblib(tmp_path / "Models", "a")
    (tmp_path / ".env").write_text('MODEL_DIRECTORY="./Models"\nSCHWIFT_REPOSITORY=there\n')
    assert run("build-repo").exit_code == 0
    assert (tmp_path / "there" / "a" / "config.pbtxt").is_file()


def test_unknown_option_ends_with_two() -> None:
    result = run("build-repo", "--modles", "x")
    assert result.exit_code == 2
    assert "No such option" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["-h"], ["build-repo", "serve", "doctor", "Settings come from the environment and from .env"]),
        (
            ["build-repo", "--help"],
            ["--models", "--output", "--model NAME", "--check", "MODEL_DIRECTORY", "SCHWIFT_REPOSITORY", "Exit code 0"],
        ),
        (["serve", "--help"], ["--host", "--port", "--triton-http-port", "PORT; 8005", "until Ctrl-C"]),
        (["doctor", "--help"], ["can run Triton from the wheel"]),
    ],
)
def test_help_names_every_command_option_and_variable(arguments: list[str], texts: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 0
    said = " ".join(result.stdout.split())
    assert [text for text in texts if text not in said] == []


def test_version_is_the_packages() -> None:
    assert run("--version").stdout.strip().endswith(f"version {version('schwift')}")


@pytest.mark.parametrize(("good", "code"), [(True, 0), (False, 1)])
def test_doctor_prints_a_line_for_each_check(monkeypatch: pytest.MonkeyPatch, good: bool, code: int) -> None:
    checks = [Check("glibc", True, "2.36"), Check("numpy", good, "a remedy")]
    monkeypatch.setattr(installation, "examine", lambda settings: checks)
    result = run("doctor")
    assert result.exit_code == code
    assert result.stdout.splitlines() == ["ok    glibc: 2.36", f"{'ok  ' if good else 'FAIL'}  numpy: a remedy"]


@pytest.mark.parametrize(
    ("error", "code"), [(RuntimeMissing("no wheel: install it"), 1), (PortInUse("port 1 is taken: choose another"), 2)]
)
def test_failed_serve_is_one_sentence_and_its_own_code(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def fail(settings: Settings, watch: bool) -> int:
        raise error

    monkeypatch.setattr("schwift.serve.serve", fail)
    result = run("serve")
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", f"error: {error}\n")


def test_serve_passes_its_options_on_and_ends_with_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Settings, bool]] = []

    def serve(settings: Settings, watch: bool) -> int:
        seen.append((settings, watch))
        return 7

    monkeypatch.setattr("schwift.serve.serve", serve)
    result = run(
        "serve", "--models", "m", "--repository", "r", "--host", "::1", "--port", "0", "--triton-grpc-port", "9"
    )
    assert result.exit_code == 7
    ((settings, watch),) = seen
    assert not watch
    assert (settings.model_directory, settings.repository) == (tmp_path / "m", tmp_path / "r")
    assert (settings.host, settings.port, settings.triton_grpc_port) == ("::1", 0, 9)
    assert run("serve", "--watch").exit_code == 7
    assert [watch for _, watch in seen] == [False, True]


def test_R33_two_models_of_one_name_end_with_two_and_both_files(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        add_model(tmp_path / "models", folder, model_yaml(name="iris"), {"m.joblib": pickle.dumps("x")})
    result = run("build-repo")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "error: models/two/model_config.yaml: model.name: iris is also the name in models/one/model_config.yaml: "
        "rename one",
        "Nothing was written.",
    ]
    assert not (tmp_path / "model_repository").exists()


def test_R32_mistakes_in_yaml_end_with_two_and_their_lines(tmp_path: Path) -> None:
    good = model_yaml(name="a")
    add_model(tmp_path / "models", "syntax", "model:\n  name: [a\n", {})
    add_model(tmp_path / "models", "twice", good + "  backend: onnx\n", {})
    add_model(tmp_path / "models", "typo", good.replace("backend:", "backnd:"), {})
    result = run("build-repo")
    assert (result.exit_code, result.stdout) == (2, "")
    lines = [line.removeprefix("error: models/") for line in result.stderr.splitlines()]
    assert lines[0].startswith("syntax/model_config.yaml:3: ")
    assert "twice/model_config.yaml:18: model.backend: the key stands twice, first on line 3: keep one" in lines
    assert "typo/model_config.yaml:3: model.backnd: unknown key (did you mean backend?)" in lines
    assert lines[-1] == "Nothing was written."


@pytest.mark.parametrize("command", [["reload"], ["reload", "a"], ["rollback", "a"]])
def test_reload_and_rollback_without_a_server_say_so_and_build_nothing(tmp_path: Path, command: list[str]) -> None:
    add_joblib(tmp_path / "models", "a")
    result = run(*command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"error: nothing is served here ({tmp_path}/.model_repository.sock: No such file or directory): "
        "run this in the folder where `schwift serve` runs, or start it\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["models"]
