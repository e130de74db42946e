"""`schwift keys add | list | revoke`: parse, call, print."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import click

from converter.errors import ConfigError
from converter.keys.store import add_key, revoke_key
from converter.schema.keys_file import ApiKey, hash_key, make_key, read_keys, valid_name
from converter.schema.settings import load_settings
from converter.table import format_table

_FILE = click.option(
    "--file", "file", type=click.Path(dir_okay=False, path_type=Path), metavar="PATH",
    help="The file of the keys. [env: SCHWIFT_API_KEYS_FILE]",
)  # fmt: skip
_SPAN = re.compile(r"([1-9][0-9]{0,4})([hdwy])")
_HEAD = ("name", "predict", "read", "metrics", "expires", "requests", "rows")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24, "y": 365 * 24}


@click.group()
def keys() -> None:
    """Make, list and revoke the API keys of clients.

    A server with SCHWIFT_API_KEYS_FILE takes a change within a second or two, without a restart.
    """


@keys.command()
@click.argument("name")
@click.option("--predict", metavar="all|M1,M2", help="Predict with all models, or with these.")
@click.option("--read", is_flag=True, help="Read /health, /available_models, /docs and /openapi.json.")
@click.option("--metrics", is_flag=True, help="Read /metrics.")
@click.option("--expires", metavar="90d|DATE", help="The end: so long from now (h, d, w, y), or at a date (UTC).")
@click.option("--requests", type=click.IntRange(1), help="Its own quota in place of MAX_REQUESTS.")
@click.option("--rows", type=click.IntRange(1), help="The most rows in REQUESTS_PERIOD_SECONDS.")
@_FILE
def add(
    name: str, predict: str | None, expires: str | None, file: Path | None, read: bool, metrics: bool, **quotas: Any
) -> None:
    """Print a new key, this once: the file holds its hash alone."""
    if not valid_name(name):
        raise ConfigError("NAME: at most 64 letters, digits, `.`, `_` and `-`, a letter or digit first")
    models = _models(predict)
    if not (models or read or metrics):
        raise ConfigError("the key would allow nothing: give it --predict all, --predict MODEL, --read or --metrics")
    now = datetime.now(timezone.utc).replace(microsecond=0)
    end = None if expires is None else _end(expires, now)
    path = _path(file)
    key = make_key()
    scopes = {"predict": models, "read": read, "metrics": metrics, "created": now, "expires": end, **quotas}
    add_key(path, ApiKey(name=name, sha256=hash_key(key), **scopes))
    click.echo(key)
    click.echo(f"The key {name} is in {path} as a hash: keep it now, it cannot be shown again.", err=True)


@keys.command("list")
@_FILE
def list_keys(file: Path | None) -> None:
    """Show each key's name, scopes, expiry and quotas."""
    now = datetime.now(timezone.utc)
    click.echo(format_table(_HEAD, [_row(key, now) for key in read_keys(_path(file))]))


@keys.command()
@click.argument("name")
@_FILE
def revoke(name: str, file: Path | None) -> None:
    """Take a key out of the file."""
    revoke_key(_path(file), name)
    click.echo(f"revoked {name}")


def _row(key: ApiKey, now: datetime) -> tuple[str, ...]:
    predict = ",".join(key.predict) if isinstance(key.predict, tuple) else "all" if key.predict else "-"
    end = "never" if key.expires is None else key.expires.strftime("%Y-%m-%d %H:%M UTC")
    return (
        key.name,
        predict,
        "yes" if key.read else "-",
        "yes" if key.metrics else "-",
        f"{end} (over)" if key.expired(now) else end,
        str(key.requests or "-"),
        str(key.rows or "-"),
    )


def _path(file: Path | None) -> Path:
    path = load_settings(api_keys_file=file).api_keys_file
    if path is None:
        raise ConfigError(
            "no file of keys is named: put SCHWIFT_API_KEYS_FILE=./api_keys.json into .env, or name it with --file"
        )
    return path


def _models(text: str | None) -> bool | tuple[str, ...]:
    if text is None:
        return False
    return True if text == "all" else tuple(name for name in text.split(",") if name)


def _end(text: str, now: datetime) -> datetime:
    try:
        if span := _SPAN.fullmatch(text):
            end = now + timedelta(hours=int(span[1]) * _HOURS[span[2]])
        else:
            end = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise ConfigError("--expires: write a time from now, as 90d, or a date, as 2030-12-31") from error
    end = end if end.tzinfo else end.replace(tzinfo=timezone.utc)
    if end <= now:
        raise ConfigError("--expires: this is over already: choose a time to come")
    return end
