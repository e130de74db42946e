"""A real Prometheus and a server with keys on: the repo's own configuration, with the key in its file."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import urlsplit

from tests.observability.prometheus import scraping, until
from tests.support.attacks.keyed import add_key
from tests.support.servers.server import ROOT
from tests.support.servers.serving import serving


def test_prometheus_scrapes_with_the_key_of_its_file(tmp_path: Path) -> None:
    """Not with what is there instead of a key; and with one once it is there, without a restart of either."""
    shutil.copytree(ROOT / "models" / "multiply", tmp_path / "models" / "multiply")
    file = tmp_path / "keys.json"
    add_key(file, "reader", "--read")
    with serving(tmp_path / "models", tmp_path, SCHWIFT_API_KEYS_FILE=str(file)) as server:
        with scraping(tmp_path, urlsplit(server.url).netloc) as prometheus:
            prometheus.wait_for('up{job="schwift"}', lambda values: values == [0.0])
            until(lambda: "401" in _error(prometheus.get("targets")), "it was not the key")
            key = add_key(file, "prometheus", "--metrics")
            (tmp_path / "prometheus" / "metrics_key").write_text(f"{key}\n", encoding="utf-8")
            prometheus.wait_for('up{job="schwift"}', lambda values: values == [1.0])
            prometheus.wait_for('schwift_model_ready{model_name="multiply"}', lambda values: values == [1.0])
        assert key not in server.output
        assert key not in (tmp_path / "prometheus.log").read_text(encoding="utf-8")


def _error(targets: dict[str, list[dict[str, str]]]) -> str:
    (error,) = [target["lastError"] for target in targets["activeTargets"] if target["scrapePool"] == "schwift"]
    return error
