"""The alert rules in Prometheus's own tests, and every query of ours against what a real server says of itself."""

from __future__ import annotations

import contextlib
import math
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from tests.e2e import sample_models
from tests.observability.dashboards import Query, queries
from tests.observability.prometheus import CONFIG, Prometheus, scraping, selectors
from tests.support.servers.server import ROOT, Server, serving

TESTS = sorted((CONFIG / "tests").glob("*.yml"))
MODELS = ("multiply", "iris_onnx", "slow")
SLOW = """
import time


class Slow:
    def predict(self, X):
        if X[0, 0] < 0:
            raise ValueError("negative")
        time.sleep(0.05)
        return X
"""
# Long enough for some scrapes, as a dashboard's $__rate_interval is.
INTERVAL = "15s"
# By `put_under_load`.
SENT = 2 * len(MODELS) * 16 + 3


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((CONFIG / "rules.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]


def promtool(*arguments: str | Path) -> str:
    """What it printed; it did not fail."""
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_configuration_is_one() -> None:
    assert "SUCCESS" in promtool("check", "config", CONFIG / "prometheus.yml")
    assert f"SUCCESS: {len(rules())} rules found" in promtool("check", "rules", CONFIG / "rules.yml")


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_alerts_fire_and_keep_quiet(path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", path)


@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
def test_each_alert_has_a_firing_and_a_quiet_case(alert: str) -> None:
    cases = [
        bool(case["exp_alerts"])
        for path in TESTS
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == alert
    ]
    assert set(cases) == {True, False}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_each_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "remedy"}


def put_under_load(server: Server) -> None:
    """Requests of every kind: joined, refused, failed, late."""
    ask = server.post
    rows = {"multiply": [[1, 2, 3]], "iris_onnx": [[5.1, 3.5, 1.4, 0.2]], "slow": [[1.0]]}
    with ThreadPoolExecutor(16) as pool:
        for endpoint in ("predict", "predict_batched"):
            for model in MODELS:
                statuses = {answer.status_code for answer in pool.map(
                    lambda _, e=endpoint, m=model: ask(e, m, rows[m]), range(16))}  # fmt: skip
                assert statuses == {200}
    late = ask("predict", "slow", [[1.0]], headers={"X-Request-Timeout-Ms": "10"})
    failed, refused = ask("predict", "slow", [[-1.0]]), ask("predict", "slow", [])
    assert [late.status_code, failed.status_code, refused.status_code] == [504, 500, 422]


@contextlib.contextmanager
def loading(server: Server) -> Iterator[None]:
    """The load again and again, so that every rate has something to show."""
    over = threading.Event()

    def load() -> None:
        while not over.is_set():
            put_under_load(server)
            over.wait(0.5)

    with ThreadPoolExecutor(1) as pool:
        loaded = pool.submit(load)
        try:
            yield
        finally:
            over.set()
        loaded.result()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that scrapes a server under load."""
    folder = tmp_path_factory.mktemp("scraped")
    models = folder / "models"
    for name in MODELS[:2]:
        shutil.copytree(ROOT / "models" / name, models / name)
    sample_models.python_model(models, "slow", "model:Slow", SLOW, "[-1, 1]", "float32")
    with (
        serving(models, folder, SCHWIFT_WORKERS="2") as server,
        scraping(folder, urlsplit(server.url).netloc) as running,
    ):
        running.wait_for("schwift_build_info")
        with loading(server):
            running.wait_for(f"sum(inference_requests_total) >= {3 * SENT}")
            yield running


def test_the_metrics_are_well_formed(prometheus: Prometheus) -> None:
    (target,) = prometheus.targets("schwift")
    assert (target["health"], target["lastError"]) == ("up", "")
    # Nothing is counted twice, though Triton's metrics come along.
    assert prometheus.values('count(nv_inference_count{model="multiply"})') == [1]
    assert prometheus.values("count(up)") == [2]


def test_what_is_scraped_is_open_metrics(prometheus: Prometheus) -> None:
    known = prometheus.get("targets/metadata", match_target='{job="schwift"}')
    told = {item["metric"]: (item["type"], item["unit"]) for item in known}
    # The older format has the whole names of counters, and no units.
    assert told["schwift_queue_seconds"] == ("counter", "seconds")
    assert told["schwift_request_duration_seconds"] == ("histogram", "seconds")
    assert told["inference_latency_ms"] == ("histogram", "")
    assert told["nv_inference_count"] == ("unknown", "")
    assert told["process_cpu_seconds"] == ("counter", "seconds")


def test_the_same_times_are_told_in_seconds_and_milliseconds(prometheus: Prometheus) -> None:
    ratios = prometheus.values("inference_latency_ms_sum / schwift_request_duration_seconds_sum")
    assert ratios == pytest.approx([1000] * 2 * len(MODELS))
    assert prometheus.values("sum(inference_latency_ms_count) - sum(schwift_request_duration_seconds_count)") == [0]


def test_the_adapters_processes_are_told_as_one(prometheus: Prometheus) -> None:
    prometheus.wait_for("rate(process_cpu_seconds_total{job='schwift'}[15s]) > 0")
    # Two workers and their parent.
    assert prometheus.values("process_resident_memory_bytes{job='schwift'}")[0] > 100e6
    assert 0 < prometheus.values("process_open_fds{job='schwift'} / process_max_fds{job='schwift'}")[0] < 1
    assert prometheus.values("process_start_time_seconds{job='schwift'} < time()")


# What users' dashboards know keeps its name, and what Triton names is Triton's.
NOT_OURS_TO_NAME = ("inference_latency_ms ", "nv_")


def test_promtool_has_nothing_to_say_of_our_names(prometheus: Prometheus) -> None:
    (target,) = prometheus.targets("schwift")
    text = httpx.get(target["scrapeUrl"]).content
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60)
    # 3 says that there were complaints, 1 that it could not be read.
    assert done.returncode in (0, 3), done.stderr
    said = done.stderr.decode().splitlines()
    assert [line for line in said if not line.startswith(NOT_OURS_TO_NAME)] == []
    # It was all read.
    assert any(line.startswith("inference_latency_ms ") for line in said)


def test_no_rule_fails(prometheus: Prometheus) -> None:
    evaluated = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert len(evaluated) == len(rules())
    assert {rule["health"] for rule in evaluated} == {"ok"}


@pytest.mark.parametrize("query", queries(), ids=lambda query: query.panel)
def test_each_query_of_a_dashboard_returns_data(prometheus: Prometheus, query: Query) -> None:
    expression = query.filled_in(f"({'|'.join(MODELS)})", INTERVAL)
    assert "$" not in expression
    prometheus.wait_for(expression, lambda values: any(map(math.isfinite, values)))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_each_series_that_a_rule_reads_is_there(prometheus: Prometheus, rule: dict[str, Any]) -> None:
    read = selectors(rule["expr"])
    assert read
    for selector in read:
        prometheus.wait_for(selector)
