"""Metrics in OpenMetrics: for whom, and the same samples as in Prometheus' own format."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterable

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as open_parser
from prometheus_client.parser import text_string_to_metric_families

from adapter.telemetry.metrics import FAMILIES
from adapter.telemetry.open_metrics import END, to_open_metrics, wants_open_metrics
from tests.support.fakes.backend import FakeBackend
from tests.support.http.web_app import visit
from tests.support.packs import make_all_metrics

OPEN = "application/openmetrics-text"
# As Triton writes, and with what its text format may have besides.
TRITONS = rb"""# HELP nv_inference_count Number of "inferences" performed
# TYPE nv_inference_count counter
nv_inference_count{model="m_direct",version="1"} 7
nv_inference_count{model="m",version="1"} 3

# HELP nv_cpu_utilization CPU utilization rate [0.0 - 1.0]
# TYPE nv_cpu_utilization gauge
nv_cpu_utilization 0.25
# a remark
# HELP nv_latency Of calls
# TYPE nv_latency histogram
nv_latency_bucket{le="0.5"} 1
nv_latency_bucket{le="+Inf"} 2
nv_latency_count 2
nv_latency_sum 3.5
# TYPE nv_odd untyped
nv_odd 1
"""
# What they send, as they send it.
PROMETHEUS_2 = f"{OPEN};version=1.0.0,{OPEN};version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
PROMETHEUS_3 = (
    f"{OPEN};version=1.0.0;escaping=allow-utf-8;q=0.6,{OPEN};version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (OPEN, True), (f"{OPEN}; version=1.0.0; charset=utf-8", True), (f'{OPEN};version="1.0.0"', True),
        (PROMETHEUS_2, True), (PROMETHEUS_3, True), (f"Application/OpenMetrics-Text, {'*'}/*", True),
        (f"{OPEN};q=0.2, */*;q=0.1", True), (f"text/plain;q=0.5, {OPEN};q=0.9", True), (f"{OPEN}, text/plain", True),
        # Another version of text is none that could be sent.
        (f"{OPEN};q=0.5, text/plain;version=1.0.0", True),
        ("", False), ("*/*", False), ("application/*", False), ("text/plain", False), ("text/html", False),
        (f"{OPEN};q=0", False), (f"{OPEN};q=0, */*", False), (f"{OPEN};q=0.5, text/plain", False),
        (f"{OPEN};q=0.5, text/*", False), (f"{OPEN};q=0.5, */*", False), (f"{OPEN};q=odd", False),
        (f"{OPEN};version=0.0.1, text/plain;version=0.0.4;q=0.5", False), (f"{OPEN};version=2.0.0", False),
        # The narrower range counts.
        (f"{OPEN};q=0.5, text/plain;q=0.1, */*", True),
    ],
)  # fmt: skip
def test_open_metrics_is_for_who_names_it(accept: str, wanted: bool) -> None:
    assert wants_open_metrics(accept) is wanted


def read_strictly(text: str) -> list[Metric]:
    """By a reader that takes nothing but OpenMetrics."""
    return list(open_parser.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(families: Iterable[Metric]) -> Samples:
    found: Samples = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def lines(text: bytes) -> list[bytes]:
    """Those that are samples."""
    return [line for line in text.split(b"\n") if line and not line.startswith(b"#")]


def scrape(accept: str, coding: str = "identity") -> tuple[str, bytes]:
    """The type of the answer, and its body as it came, of a server that was asked something."""

    async def use(client: httpx.AsyncClient) -> tuple[str, bytes]:
        for features in ([[1, 2, 3, 4]], [[1, 2, 3, 4]] * 3, [[1]]):
            await client.post("/predict/m", json={"features": features})
        request = client.build_request("GET", "/metrics", headers={"Accept": accept, "Accept-Encoding": coding})
        response = await client.send(request, stream=True)
        assert (response.status_code, response.headers["vary"]) == (200, "Accept, Accept-Encoding")
        return response.headers["content-type"], b"".join([piece async for piece in response.aiter_raw()])

    return visit(use, FakeBackend(own_metrics=TRITONS))


def test_both_formats_have_the_same_series() -> None:
    kind, text = scrape("text/plain")
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    open_kind, opened = scrape(PROMETHEUS_2)
    assert open_kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert text.endswith(TRITONS) and opened.endswith(b"\nnv_odd 1\n# EOF\n")
    # A reader of this format adds _total to names of counters.
    assert {line.rpartition(b" ")[0] for line in lines(text)} == {line.rpartition(b" ")[0] for line in lines(opened)}
    plain = samples(text_string_to_metric_families(text.decode()))
    strict = samples(read_strictly(opened.decode()))
    labels = frozenset({"model_name": "m", "endpoint": "predict"}.items())
    for name, value in (("requests_total", 3), ("errors_total", 1), ("latency_ms_count", 2), ("batch_size_sum", 4)):
        assert plain[f"inference_{name}", labels] == strict[f"inference_{name}", labels] == value
    assert strict["nv_inference_count", frozenset({"model": "m", "version": "1"}.items())] == 3
    assert ("process_cpu_seconds_total", frozenset()) in strict


def test_it_is_compressed_too() -> None:
    kind, packed = scrape(OPEN, "gzip")
    assert kind.startswith(OPEN)
    assert gzip.decompress(packed).endswith(b"# EOF\n")


def test_tritons_counters_keep_their_names() -> None:
    found = {family.name: family for family in read_strictly(
        (to_open_metrics(TRITONS) + END).decode())}  # fmt: skip
    assert {name: family.type for name, family in found.items()} == {
        "nv_inference_count": "unknown", "nv_cpu_utilization": "gauge", "nv_latency": "histogram", "nv_odd": "unknown",
    }  # fmt: skip
    assert found["nv_inference_count"].documentation == 'Number of "inferences" performed'
    assert lines(to_open_metrics(TRITONS)) == lines(TRITONS)


@pytest.mark.parametrize(
    ("text", "wanted"), [(b"", b""), (b"a 1", b"a 1\n"), (b"# odd", b""), (b"\n\na 1\n", b"a 1\n")]
)
def test_odd_texts_stay_lines(text: bytes, wanted: bytes) -> None:
    assert to_open_metrics(text) == wanted


def test_every_family_has_its_kind_text_and_unit() -> None:
    text = (asyncio.run(make_all_metrics().render(open_metrics=True)) + END).decode()
    shown = {family.name: family for family in read_strictly(text)}
    assert {name: (family.type, family.documentation) for name, family in shown.items()} == {
        family.name: (family.kind, family.text) for family in FAMILIES
    }
    units = {name: family.unit for name, family in shown.items() if family.unit}
    assert {name: unit for name, unit in units.items() if not name.endswith(f"_{unit}")} == {}
    assert {name for name in shown if name.endswith(("_seconds", "_bytes"))} == units.keys()
    assert len(units) >= 8
