"""The dashboards as files; tests/observability tries their queries against a real Prometheus."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapter.telemetry.metrics import FAMILIES
from tests.observability.dashboards import DASHBOARDS, GRAFANA, ROOT, panels, queries, read

# Triton 2.51's, that our /metrics ends with.
TRITONS = {
    "nv_inference_request_success", "nv_inference_request_failure", "nv_inference_count", "nv_inference_exec_count",
    "nv_inference_pending_request_count", "nv_inference_request_duration_us", "nv_inference_queue_duration_us",
    "nv_inference_compute_input_duration_us", "nv_inference_compute_infer_duration_us",
    "nv_inference_compute_output_duration_us",
}  # fmt: skip
METRIC = re.compile(r"\b(?:schwift|inference|nv)_\w+")
# What is shown of a metric of each type.
ENDINGS = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
WIDTH = 24
Box = dict[str, int]


@pytest.fixture(params=DASHBOARDS, ids=lambda path: path.stem)
def dashboard(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


def test_there_is_one() -> None:
    assert [path.name for path in DASHBOARDS] == ["schwift.json"]


def test_every_panel_says_what_it_shows_in_which_unit_and_from_where(dashboard: dict[str, Any]) -> None:
    titles = [panel["title"] for panel in panels(dashboard)]
    assert all(titles) and len(set(titles)) == len(titles)
    for panel in panels(dashboard):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources), panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) >= 1
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_no_panel_lies_on_another_or_beside_the_page(dashboard: dict[str, Any]) -> None:
    boxes = [panel["gridPos"] for panel in dashboard["panels"]]
    assert all(box["x"] >= 0 and box["x"] + box["w"] <= WIDTH and min(box["w"], box["h"]) > 0 for box in boxes)
    assert not [(a, b) for a, b in itertools.combinations(boxes, 2) if overlap(a, b)]


def overlap(a: Box, b: Box) -> bool:
    beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
    above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
    return not (beside or above)


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        (r"inference_latency_ms_bucket", "ms"),
        (r"schwift_\w+_seconds", "s"),
        (r"nv_\w+_us", "µs"),
        (r"\w+_bytes", "bytes"),
    ],
)
def test_a_unit_is_that_of_the_metric(metric: str, unit: str) -> None:
    shown = [
        panel
        for path in DASHBOARDS
        for panel in panels(read(path))
        if any(re.search(metric, target["expr"]) for target in panel["targets"])
    ]
    assert shown
    assert {panel["fieldConfig"]["defaults"]["unit"] for panel in shown} == {unit}


def test_the_models_can_be_chosen(dashboard: dict[str, Any]) -> None:
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert variables["model"]["query"]["query"] == "label_values(inference_requests_total, model_name)"
    assert variables["model"]["multi"] and variables["model"]["includeAll"]
    assert variables["datasource"]["query"] == "prometheus"
    assert dashboard["schemaVersion"] >= 39


def test_every_metric_is_one_of_ours_or_of_tritons() -> None:
    ours = {family.name + ending for family in FAMILIES for ending in ENDINGS[family.kind]}
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text(encoding="utf-8"))
    expressions = [query.expression for query in queries()]
    expressions += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    used = {name for expression in expressions for name in METRIC.findall(expression)}
    assert used - ours - TRITONS == set()
    # What users' dashboards know stands in ours as well.
    assert {name for name in used if name.startswith("inference_")} >= {
        "inference_requests_total", "inference_latency_ms_bucket", "inference_batch_size_sum",
    }  # fmt: skip


def test_what_is_provisioned_fits_together() -> None:
    def provisioned(path: str) -> Any:
        return yaml.safe_load((GRAFANA / "provisioning" / path).read_text(encoding="utf-8"))

    (source,) = provisioned("datasources/prometheus.yml")["datasources"]
    for path in DASHBOARDS:
        variables = {variable["name"]: variable for variable in read(path)["templating"]["list"]}
        assert variables["datasource"]["current"]["value"] == source["uid"]
    scraped = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]
    (provider,) = provisioned("dashboards/schwift.yml")["providers"]
    assert Path(provider["options"]["path"]).name == "dashboards"


def test_the_document_has_every_metric_and_every_alert() -> None:
    text = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    names = {family.shown for family in FAMILIES}
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text(encoding="utf-8"))
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    assert {name for name in names | alerts if not re.search(rf"\b{name}\b", text)} == set()
