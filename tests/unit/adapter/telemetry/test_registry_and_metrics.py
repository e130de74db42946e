"""What is known of the models, and the metrics that dashboards read."""

from __future__ import annotations

import asyncio
from importlib import metadata

import pytest
from prometheus_client.parser import text_string_to_metric_families

from adapter import VERSION
from adapter.error_codes import CODES
from adapter.lifecycle.model_state import State
from adapter.lifecycle.registry import Registry
from adapter.limits.admission import Admission
from adapter.telemetry.metric_text import NAME, Family, put_name
from adapter.telemetry.metrics import FAMILIES, Metrics
from adapter.workers import counters
from adapter.workers.shared_table import SharedTable
from converter.schema.model import ENDPOINTS
from tests.support.builders import make_metrics
from tests.support.fakes.entries import make_entry, make_manifest
from tests.support.lifecycle.served_models import make_registry
from tests.support.packs import make_all_metrics

_READY_LINE = Family("ready", "gauge", "").line({"model_name": NAME})


def registry_of(*names: str) -> Registry:
    return make_registry(make_manifest(*(make_entry(name) for name in names)))


def board_of(registry: Registry) -> SharedTable:
    return counters.make_table(list(registry.models))


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = asyncio.run(metrics.render()).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, frozenset(labels.items())))


def test_a_registry_is_ready_when_triton_and_every_model_are() -> None:
    registry = registry_of("a", "b")
    assert (registry.ready, registry.triton_up) == (False, False)
    registry.triton_up = True
    registry.models["a"].status.adopt("ready")
    assert not registry.ready
    registry.models["b"].status.adopt("ready")
    assert registry.ready
    registry.triton_up = False
    assert not registry.ready


@pytest.mark.parametrize("state", ["waiting", "loading", "unavailable", "failed"])
def test_only_the_state_ready_is_ready(state: State) -> None:
    registry = registry_of("a")
    registry.triton_up = True
    assert registry.models["a"].status.state == "waiting"
    registry.models["a"].status.adopt(state)
    assert not registry.models["a"].ready
    assert not registry.ready


def test_the_names_and_labels_that_dashboards_use() -> None:
    registry = registry_of("a")
    table = board_of(registry)
    metrics = make_metrics(registry, table)
    counts = counters.EndpointCounters(table, "a", 0, "predict")
    counts.answered(0.004, 3)
    counts.failed("bad_features")
    labels = {"model_name": "a", "endpoint": "predict"}
    assert value(metrics, "inference_requests_total", **labels) == 2
    assert value(metrics, "inference_errors_total", **labels) == 1
    assert value(metrics, "inference_latency_ms_sum", **labels) == pytest.approx(4)
    assert value(metrics, "inference_latency_ms_count", **labels) == 1
    assert value(metrics, "inference_latency_ms_bucket", le="3.0", **labels) == 0
    assert value(metrics, "inference_latency_ms_bucket", le="5.0", **labels) == 1
    assert value(metrics, "inference_batch_size_sum", **labels) == 3
    assert value(metrics, "inference_batch_size_bucket", le="2.0", **labels) == 0
    assert value(metrics, "inference_batch_size_bucket", le="4.0", **labels) == 1
    assert value(metrics, "schwift_responses_total", status="422", code="bad_features", **labels) == 1
    assert value(metrics, "schwift_responses_total", status="200", code="ok", **labels) == 1
    other = {"model_name": "a", "endpoint": "predict_batched"}
    assert value(metrics, "inference_requests_total", **other) == 0


def test_a_histogram_is_there_from_the_first_request_on() -> None:
    registry = registry_of("a")
    table = board_of(registry)
    metrics = make_metrics(registry, table)
    names = ("inference_latency_ms", "inference_batch_size", "schwift_request_duration_seconds")
    asked, other = ({"model_name": "a", "endpoint": endpoint} for endpoint in ENDPOINTS)

    def counts(labels: dict[str, str]) -> list[float | None]:
        return [value(metrics, f"{name}_count", **labels) for name in names]

    assert counts(asked) == counts(other) == [None] * 3
    counters.EndpointCounters(table, "a", 0, ENDPOINTS[0]).failed("queue_full")
    assert (counts(asked), counts(other)) == ([0] * 3, [None] * 3)


def test_what_takes_less_than_a_millisecond_is_told_apart() -> None:
    registry = registry_of("a")
    table = board_of(registry)
    metrics = make_metrics(registry, table)
    counts = counters.EndpointCounters(table, "a", 0, "predict")
    for seconds in (0.0002, 0.00025, 0.0004, 0.0009, 20.0):
        counts.answered(seconds, 1)
    labels = {"model_name": "a", "endpoint": "predict"}
    for bound, wanted in ((0.25, 2), (0.5, 3), (1.0, 4), (15000.0, 4)):
        assert value(metrics, "inference_latency_ms_bucket", le=str(bound), **labels) == wanted
        assert value(metrics, "schwift_request_duration_seconds_bucket", le=str(bound / 1e3), **labels) == wanted
    assert value(metrics, "inference_latency_ms_sum", **labels) == pytest.approx(20001.75)
    assert value(metrics, "schwift_request_duration_seconds_sum", **labels) == pytest.approx(20.00175)
    assert value(metrics, "schwift_request_duration_seconds_count", **labels) == 5


def test_counters_start_at_zero_for_the_endpoints_that_a_model_has() -> None:
    registry = make_registry(make_manifest(make_entry("a", endpoints=["predict"]), make_entry("b")))
    metrics = make_metrics(registry, board_of(registry))
    for name in ("inference_requests_total", "inference_errors_total"):
        assert value(metrics, name, model_name="a", endpoint="predict") == 0
        assert value(metrics, name, model_name="b", endpoint="predict_batched") == 0
        assert value(metrics, name, model_name="a", endpoint="predict_batched") is None


def test_gauges_show_what_is_true_now() -> None:
    registry = registry_of("a", "b")
    table = board_of(registry)
    admission = Admission(5, counters.Cell(table, counters.ALL, 0, counters.IN_FLIGHT))
    metrics = make_metrics(registry, table)
    assert value(metrics, "schwift_triton_up") == 0
    assert value(metrics, "schwift_model_ready", model_name="a") == 0
    registry.triton_up = True
    registry.models["a"].status.adopt("ready")
    admission.enter()
    admission.enter()
    assert value(metrics, "schwift_in_flight") == 2
    admission.leave()
    admission.leave()
    assert value(metrics, "schwift_in_flight") == 0
    assert value(metrics, "schwift_triton_up") == 1
    assert value(metrics, "schwift_model_ready", model_name="a") == 1
    assert value(metrics, "schwift_model_ready", model_name="b") == 0


def test_queues_regimes_and_calls_are_each_models_own() -> None:
    registry = registry_of("a", "b")
    table = board_of(registry)
    metrics = make_metrics(registry, table)
    for cell, amount in ((counters.QUEUED, 3), (counters.REGIME, 2), (counters.REGIME_CHANGES, 5), (counters.CALLS, 7),
                         (counters.CALL_ROWS, 11)):  # fmt: skip
        counters.Cell(table, "b", 0, cell).add(amount)
    for name, wanted in (("a", [0, 0, 0, 0]), ("b", [3, 5, 7, 11])):
        names = ("schwift_queued", "schwift_regime_changes_total", "schwift_calls_total", "schwift_call_rows_total")
        assert [value(metrics, metric, model_name=name) for metric in names] == wanted
    regimes = {(name, word): value(metrics, "schwift_regime", model_name=name, regime=word)
               for name in "ab" for word in ("idle", "busy", "rush")}  # fmt: skip
    assert regimes == {
        ("a", "idle"): 1, ("a", "busy"): 0, ("a", "rush"): 0, ("b", "idle"): 0, ("b", "busy"): 0, ("b", "rush"): 1,
    }  # fmt: skip


def test_times_of_requests_and_of_calls_are_told_in_seconds() -> None:
    registry = make_registry(make_manifest(make_entry("a"), make_entry("b", endpoints=["predict"])))
    table = board_of(registry)
    metrics = make_metrics(registry, table)
    counters.EndpointCounters(table, "a", 0, "predict_batched").answered(0.5, 1, 0.25, 0.125)
    counters.CallHistogram(table, "a", 0, "front").took(0.004)
    labels = {"model_name": "a", "endpoint": "predict_batched"}
    assert value(metrics, "schwift_queue_seconds_total", **labels) == 0.25
    assert value(metrics, "schwift_model_seconds_total", **labels) == 0.125
    front = {"model_name": "a", "way": "front"}
    assert value(metrics, "schwift_call_seconds_bucket", le="0.003", **front) == 0
    assert value(metrics, "schwift_call_seconds_bucket", le="0.005", **front) == 1
    assert value(metrics, "schwift_call_seconds_sum", **front) == pytest.approx(0.004)
    assert value(metrics, "schwift_call_seconds_count", **front) == 1
    # There were none.
    assert value(metrics, "schwift_call_seconds_count", model_name="a", way="direct") is None
    assert value(metrics, "schwift_call_seconds_count", model_name="b", way="direct") is None


def test_bounds_are_told_beside_what_they_bound() -> None:
    registry = registry_of("a")
    metrics = make_metrics(registry, board_of(registry), deadline=1.5, in_flight=7)
    assert value(metrics, "schwift_deadline_seconds") == 1.5
    assert value(metrics, "schwift_in_flight_limit") == 7
    assert value(metrics, "schwift_queue_limit", model_name="a") == 1024
    assert value(metrics, "schwift_build_info", version=VERSION) == 1


def test_the_version_is_the_packages() -> None:
    assert metadata.version("schwift") == VERSION


def test_a_counter_of_server_faults_is_there_before_the_first() -> None:
    registry = registry_of("a")
    metrics = make_metrics(registry, board_of(registry))
    labels = {"model_name": "a", "endpoint": "predict"}
    for status, code in CODES:
        wanted = 0 if status >= 500 else None
        assert value(metrics, "schwift_responses_total", status=str(status), code=code, **labels) == wanted


def test_two_applications_do_not_share_counters() -> None:
    registries = [registry_of("a") for _ in range(2)]
    boards = [board_of(registry) for registry in registries]
    first, second = (make_metrics(registry, table) for registry, table in zip(registries, boards, strict=True))
    counters.EndpointCounters(boards[0], "a", 0, "predict").answered(0.001, 1)
    assert value(first, "inference_requests_total", model_name="a", endpoint="predict") == 1
    assert value(second, "inference_requests_total", model_name="a", endpoint="predict") == 0


def test_every_metric_has_its_kind_and_its_text() -> None:
    text = asyncio.run(make_all_metrics().render()).decode()
    shown = {family.name: (family.type, family.documentation) for family in text_string_to_metric_families(text)}
    assert shown == {family.name: (family.kind, family.text) for family in FAMILIES}
    assert all(family.samples for family in text_string_to_metric_families(text))


def test_a_models_name_is_escaped() -> None:
    odd = 'a"b\\c\nd%s'
    assert put_name(_READY_LINE % 1.0, odd) == 'ready{model_name="a\\"b\\\\c\\nd%s"} 1.0\n'


def test_requests_are_answered_between_slices_of_many_models() -> None:
    registry = registry_of(*(f"m{i}" for i in range(100)))
    metrics = make_metrics(registry, board_of(registry))

    async def count_turns() -> int:
        turns = 0
        rendering = asyncio.create_task(metrics.render())
        while not rendering.done():
            turns += 1
            await asyncio.sleep(0)
        return turns

    assert asyncio.run(count_turns()) >= 6
