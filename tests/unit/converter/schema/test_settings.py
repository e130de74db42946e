"""The environment and `.env` → Settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from converter.errors import ConfigError
from converter.schema.settings import Settings, env_name, load_settings

EXAMPLE = Path(__file__).parents[4] / ".env.example"
# An example that shows every setting shows none.
_MOST_OF_OURS = 15

USERS_ENV = """\
PORT=8006
MAX_ML_WORKERS=2
MAX_BATCH_SIZE=64
BATCHER_QUEUE_N=16
LOG_DIRECTORY="./my logs"
MODEL_DIRECTORY="./Models"
DEBUG_MODE=True
DEBUG_MODEL=true
MAX_CONCURRENT_REQUESTS=100
PREDICT_TIMEOUT_SECONDS=2.5
CIRCUIT_BREAKER_RECOVERY_TIMEOUT=7
MAX_REQUESTS=250
REQUESTS_PERIOD_SECONDS=30
SOMETHING_ELSE=kept out
"""


@pytest.fixture(autouse=True)
def clear_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for field in Settings.model_fields:
        for name in {env_name(field), field.upper(), field}:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def write_env(folder: Path, text: str) -> Path:
    path = folder / ".env"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.port == 8005
    assert (settings.max_ml_workers, settings.max_batch_size, settings.batcher_queue_n) == (4, 32, 32)
    assert (settings.log_directory, settings.model_directory) == (tmp_path / "logs", tmp_path / "models")
    assert (settings.debug_mode, settings.debug_model) == (False, False)
    assert (settings.max_concurrent_requests, settings.predict_timeout_seconds) == (1024, 15)
    assert settings.circuit_breaker_recovery_timeout == 30
    assert (settings.max_requests, settings.requests_period_seconds) == (None, 60)
    assert (settings.host, settings.repository) == ("127.0.0.1", tmp_path / "model_repository")


def test_users_env_file_is_read_quotes_and_all(tmp_path: Path) -> None:
    write_env(tmp_path, USERS_ENV)
    settings = load_settings()
    assert (settings.port, settings.max_ml_workers, settings.max_batch_size) == (8006, 2, 64)
    assert settings.batcher_queue_n == 16
    assert (settings.log_directory, settings.model_directory) == (tmp_path / "my logs", tmp_path / "Models")
    assert (settings.debug_mode, settings.debug_model) == (True, True)
    assert settings.access_lines == "all"
    assert (settings.max_concurrent_requests, settings.predict_timeout_seconds) == (100, 2.5)
    assert settings.circuit_breaker_recovery_timeout == 7
    assert (settings.max_requests, settings.requests_period_seconds) == (250, 30)


def test_windows_line_ends_do_not_reach_the_values(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b'PORT=8007\r\nMODEL_DIRECTORY="./Models"\r\n')
    settings = load_settings()
    assert (settings.port, settings.model_directory) == (8007, tmp_path / "Models")


def test_environment_wins_over_env_file_and_env_file_over_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_env(tmp_path, "PORT=9001\nMAX_BATCH_SIZE=9\n")
    monkeypatch.setenv("PORT", "9002")
    settings = load_settings()
    assert (settings.port, settings.max_batch_size, settings.max_ml_workers) == (9002, 9, 4)


def test_option_wins_over_environment_and_none_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9002")
    monkeypatch.setenv("SCHWIFT_REPOSITORY", "/from/env")
    monkeypatch.setenv("SCHWIFT_HOST", "10.0.0.1")
    settings = load_settings(port=9003, repository=tmp_path / "option", host=None)
    assert (settings.port, settings.repository, settings.host) == (9003, tmp_path / "option", "10.0.0.1")


def test_no_env_file_is_read_when_none_is_named(tmp_path: Path) -> None:
    write_env(tmp_path, "PORT=9001\n")
    assert load_settings(None).port == 8005


def test_empty_value_means_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_env(tmp_path, "PORT=\nMODEL_DIRECTORY=\nMAX_REQUESTS=\nDEBUG_MODE=\n")
    monkeypatch.setenv("MAX_BATCH_SIZE", "")
    settings = load_settings()
    assert (settings.port, settings.model_directory) == (8005, tmp_path / "models")
    assert (settings.max_requests, settings.debug_mode, settings.max_batch_size) == (None, False, 32)


@pytest.mark.parametrize("value", ["True", "true", "1", "yes", "on"])
def test_switch_is_on_in_each_spelling(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("DEBUG_MODE", value)
    assert load_settings().debug_mode is True


@pytest.mark.parametrize("value", ["False", "false", "0", "no", "off"])
def test_switch_is_off_in_each_spelling(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("DEBUG_MODE", value)
    settings = load_settings()
    assert settings.debug_mode is False
    assert settings.access_lines == "off"


@pytest.mark.parametrize("debug_mode", ["True", "False"])
def test_the_lines_of_requests_are_what_was_asked_for_whatever_debug_mode_says(
    monkeypatch: pytest.MonkeyPatch, debug_mode: str
) -> None:
    monkeypatch.setenv("DEBUG_MODE", debug_mode)
    monkeypatch.setenv("SCHWIFT_ACCESS_LOG", "errors")
    assert load_settings().access_lines == "errors"


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("PORT", "eighty", "Input should be a valid integer, unable to parse string as an integer"),
        ("PORT", "65536", "Input should be less than or equal to 65535"),
        ("MAX_BATCH_SIZE", "0", "Input should be greater than or equal to 1"),
        ("DEBUG_MODE", "maybe", "Input should be a valid boolean, unable to interpret input"),
        ("PREDICT_TIMEOUT_SECONDS", "0", "Input should be greater than 0"),
        ("SCHWIFT_TRITON_GRPC_PORT", "x", "Input should be a valid integer, unable to parse string as an integer"),
        ("SCHWIFT_ACCESS_LOG", "some", "Input should be 'off', 'errors' or 'all'"),
        ("SCHWIFT_LOG_FORMAT", "xml", "Input should be 'console' or 'json'"),
        ("SCHWIFT_MAX_BODY_BYTES", "10", "Input should be greater than or equal to 1024"),
    ],
)
def test_bad_value_names_the_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str, fault: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert caught.value.problems == (f"{name}: {fault} (set in the environment or in .env)",)
    assert caught.value.exit_code == 2


def test_several_bad_values_are_said_at_once_and_none_is_shown(tmp_path: Path) -> None:
    write_env(tmp_path, "PORT=hunter2\nMAX_REQUESTS=hunter2\nSCHWIFT_CACHE_BYTES=hunter2\n")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "PORT", "MAX_REQUESTS", "SCHWIFT_CACHE_BYTES",
    ]  # fmt: skip
    assert "hunter2" not in str(caught.value)


def test_env_example_loads_and_equals_the_defaults() -> None:
    assert load_settings(EXAMPLE) == load_settings(None)


def test_env_example_with_every_line_switched_on_is_the_users_names_and_a_few_of_ours(tmp_path: Path) -> None:
    lines = [line.removeprefix("# ") for line in EXAMPLE.read_text(encoding="utf-8").splitlines() if "=" in line]
    path = write_env(tmp_path, "\n".join(lines))
    settings = load_settings(path)
    assert (settings.max_requests, settings.requests_period_seconds) == (250, 60)
    every = {env_name(field) for field in Settings.model_fields}
    named = {line.split("=")[0] for line in lines}
    assert {name for name in every if not name.startswith("SCHWIFT_")} <= named <= every
    assert sum(name.startswith("SCHWIFT_") for name in named) <= _MOST_OF_OURS


def test_paths_are_absolute_and_a_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("MODEL_DIRECTORY", "~/models")
    monkeypatch.setenv("LOG_DIRECTORY", "../logs")
    settings = load_settings()
    assert settings.model_directory == Path("/home/ada/models")
    assert settings.log_directory == Path(os.path.abspath(tmp_path.parent / "logs"))


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({}, "/home/ada/.cache/schwift"),
        ({"XDG_CACHE_HOME": "/var/cache/ada"}, "/var/cache/ada/schwift"),
        ({"XDG_CACHE_HOME": "cache"}, "/home/ada/.cache/schwift"),
        ({"XDG_CACHE_HOME": "/var/cache/ada", "SCHWIFT_CACHE": "~/kept"}, "/home/ada/kept"),
    ],
)
def test_the_cache_is_where_other_programs_have_theirs(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], folder: str
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/ada")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert load_settings(None).cache_directory == Path(folder)


def test_a_cache_without_a_home_is_a_sentence_and_settings_are_read_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", fail)
    settings = load_settings(None)
    with pytest.raises(ConfigError, match=r"^SCHWIFT_CACHE: this user's home is not known: name a folder"):
        _ = settings.cache_directory


def test_env_names_are_the_users_or_have_our_prefix() -> None:
    assert (env_name("max_batch_size"), env_name("repository")) == ("MAX_BATCH_SIZE", "SCHWIFT_REPOSITORY")


@pytest.mark.parametrize(
    ("name", "value", "field"), [("HOST", "0.0.0.0", "host"), ("REPOSITORY", "/srv/git", "repository")]
)
def test_our_settings_are_read_under_their_prefix_alone(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, field: str
) -> None:
    expected = getattr(load_settings(), field)
    monkeypatch.setenv(name, value)
    assert getattr(load_settings(), field) == expected


def test_home_of_an_unknown_user_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_DIRECTORY", "~nobody-of-this-name/models")
    with pytest.raises(ConfigError, match=r"^MODEL_DIRECTORY: "):
        load_settings()


def test_env_file_that_is_not_utf8_is_a_problem_of_the_config(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"MODEL_DIRECTORY=./mod\xe8les\n")
    with pytest.raises(ConfigError, match=r"\.env"):
        load_settings()


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
        ("https://traces.example/otlp/", "https://traces.example/otlp"),
    ],
)
def test_a_collectors_address(monkeypatch: pytest.MonkeyPatch, value: str, wanted: str) -> None:
    monkeypatch.setenv("SCHWIFT_OTLP_ENDPOINT", value)
    assert load_settings().otlp_endpoint == wanted


# A comma ends an option of Triton's; credentials would stand in its command line.
@pytest.mark.parametrize(
    "value", ["127.0.0.1:4318", "ftp://a", "http://u:p@a", "http://a,b", "http://a?x=1", "http://a b"]
)
def test_no_collectors_address(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SCHWIFT_OTLP_ENDPOINT", value)
    with pytest.raises(ConfigError, match="SCHWIFT_OTLP_ENDPOINT"):
        load_settings()
