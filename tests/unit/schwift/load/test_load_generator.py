"""The engine against servers on real sockets, which behave badly by design."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import statistics
import time
from collections import Counter
from pathlib import Path

import pytest

from schwift.load.latency_histogram import LatencyHistogram
from schwift.load.load_generator import LoadGenerator, LoadStep, LoadTarget, due_times
from schwift.load.load_record import CLOSED, NO_CONNECTION, NO_HTTP, TIMEOUT, UNSENT, LoadRecord
from tests.support.servers import certificates
from tests.support.servers.ports import free_port
from tests.unit.schwift.load.scripted_server import REQUEST, answer_at_once, late_handshakes, response, scripted

STALL_SECONDS = 1.0
# As many as requests: none of them has to wait for one that is in use, however busy the machine is.
ENOUGH = 500


def longer_than(histogram: LatencyHistogram, seconds: float) -> int:
    """How many latencies are longer, to a thousandth of them all."""
    shares = (permille for permille in range(1001) if histogram.percentile(permille / 10) > seconds)
    first = next(shares, 1001)
    return round(histogram.count * (1001 - first) / 1000)


async def stall_once(number: int, writer: asyncio.StreamWriter) -> None:
    """Stop the whole server for a second, as a garbage collection or a lock does."""
    if number == 50:
        time.sleep(STALL_SECONDS)
    writer.write(response())


async def test_an_open_loop_shows_everybody_who_waited_for_a_stalled_server() -> None:
    """200 a second are due for 2 s, and for one of them nobody answers: 100 wait more than half a second."""
    async with StallingServer() as port:
        record = await load(port, LoadStep(ENOUGH, rate=200, duration=2, warmup=0))
        waited = longer_than(record.latencies(), STALL_SECONDS / 2)
        assert record.counts() == {"200": 400}
        assert waited >= 80
        assert record.latencies().percentile(99) > 0.9 * STALL_SECONDS


async def test_a_closed_loop_sends_nothing_meanwhile_and_one_shows() -> None:
    async with StallingServer() as port:
        record = await load(port, LoadStep(1, duration=3, warmup=0))
        assert record.latencies().highest > 0.9 * STALL_SECONDS
        # One in hundreds: the 99th percentile does not know of it.
        assert record.latencies().count > 100
        assert record.latencies().percentile(99) < STALL_SECONDS / 2


async def load(port: int, step: LoadStep) -> LoadRecord:
    generator = LoadGenerator(LoadTarget("127.0.0.1", port, (REQUEST,)), step, LoadRecord())
    await asyncio.wait_for(generator.run(), 30)
    return generator.record


class StallingServer:
    """A server with a loop and a thread of its own: its sleep is not the client's."""

    async def __aenter__(self) -> int:
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()

        def run() -> None:
            async def serve() -> None:
                self._loop = asyncio.get_running_loop()
                self._over = asyncio.Event()
                async with scripted(stall_once) as server:
                    loop.call_soon_threadsafe(started.set_result, server.port)
                    await self._over.wait()

            asyncio.run(serve())

        self._thread = loop.run_in_executor(None, run)
        return await asyncio.wait_for(started, 30)

    async def __aexit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        await self._thread


@pytest.mark.parametrize(
    "step", [LoadStep(3, duration=1.2, warmup=0), LoadStep(ENOUGH, rate=100, duration=1.2, warmup=0)]
)
async def test_what_is_seen_is_what_the_server_was_asked(step: LoadStep) -> None:
    async with scripted(answer_at_once) as server:
        record = (await server.run(step)).record
        assert record.counts() == {"200": len(server.requests)}
        assert record.good_latencies().count == len(server.requests)
        assert sum(second.good for second in record.seconds) == record.good
        assert 0 < record.good <= len(server.requests)
        assert [second.seconds for second in record.seconds] == pytest.approx([1, 0.2])
        assert record.bytes_sent == len(server.requests) * len(REQUEST)
        assert record.bytes_received == len(server.requests) * len(response())
        if step.rate is not None:
            assert len(server.requests) == 120


async def test_the_warm_up_is_not_measured() -> None:
    async with scripted(answer_at_once) as server:
        record = (await server.run(LoadStep(ENOUGH, rate=100, duration=0.5, warmup=0.5))).record
        assert (len(server.requests), record.counts()) == (100, {"200": 50})


async def test_requests_are_sent_in_turn() -> None:
    async with scripted(answer_at_once) as server:
        requests = [REQUEST[:-2] + body for body in (b"{}", b"[]", b"11")]
        await server.run(LoadStep(ENOUGH, rate=60, duration=0.5, warmup=0), *requests)
        assert Counter(server.requests) == {b"{}": 10, b"[]": 10, b"11": 10}


async def test_refusals_are_counted_by_their_code_and_not_sent_again() -> None:
    async def refuse(number: int, writer: asyncio.StreamWriter) -> None:
        body = b'{"detail": "Full.", "code": "overloaded", "request_id": "r"}'
        writer.write(response(body, "503 Busy", "Retry-After: 1") if number % 2 else response(b"<p>", "404 No"))

    async with scripted(refuse) as server:
        record = (await server.run(LoadStep(ENOUGH, rate=100, duration=0.4, warmup=0))).record
        assert record.counts() == {"404": 20, "503 overloaded": 20}
        assert len(server.requests) == 40
        assert (record.good, record.latencies().count) == (0, 0)


async def test_a_connection_that_the_server_closes_midway_is_told_and_replaced() -> None:
    async def break_every_tenth(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(response(b"whole") if number % 10 else response(b"whole")[:-2])
        if not number % 10:
            writer.close()

    for step in (LoadStep(2, duration=1, warmup=0), LoadStep(ENOUGH, rate=100, duration=0.5, warmup=0)):
        async with scripted(break_every_tenth) as server:
            counts = (await server.run(step)).record.counts()
            asked = len(server.requests)
            assert counts == {"200": asked - counts[CLOSED], CLOSED: -(-asked // 10)}
            assert server.connections > counts[CLOSED] > 1


async def test_a_server_that_closes_after_each_answer_is_connected_to_anew() -> None:
    async def answer_once(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(response(b"{}", "200 OK", "Connection: close"))
        writer.close()

    async with scripted(answer_once) as server:
        record = (await server.run(LoadStep(2, duration=1, warmup=0))).record
        assert record.counts() == {"200": len(server.requests)}
        assert server.connections >= len(server.requests) > 2


async def test_who_is_not_answered_gives_up_and_counts_as_long_as_it_waited() -> None:
    async def answer_but_one(number: int, writer: asyncio.StreamWriter) -> None:
        if number:
            writer.write(response())

    async with scripted(answer_but_one) as server:
        record = (await server.run(LoadStep(ENOUGH, rate=50, duration=0.5, warmup=0, timeout=3))).record
        assert record.counts() == {"200": 24, TIMEOUT: 1}
        assert record.outcomes[TIMEOUT].lowest >= 3
        assert record.latencies().highest >= 3 > record.good_latencies().percentile(50)


async def test_what_finds_no_connection_in_time_is_told() -> None:
    async def answer_late(number: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.write(response())

    async with scripted(answer_late) as server:
        record = (await server.run(LoadStep(1, rate=100, duration=1, warmup=0))).record
        counts = record.counts()
        assert sum(counts.values()) == 100
        assert counts["200"] == len(server.requests) <= 50
        # The first that was left had waited since it was due, a tenth of a second after the start.
        assert record.outcomes[UNSENT].highest > 0.8
        assert record.latencies().percentile(99) > 0.8


async def test_what_waits_for_a_connection_that_opens_is_sent_after_the_last_was_due(tmp_path: Path) -> None:
    """16 connections are open from the first on and in use; four requests come whose connections open too late."""
    pair = certificates.self_signed(tmp_path, "server")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pair.certificate, pair.key)

    async def answer_late(number: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1.5)
        writer.write(response())

    async with scripted(answer_late, serving) as server, late_handshakes(server.port, 0.7) as late:
        step = LoadStep(ENOUGH, rate=40, duration=0.5, warmup=0)
        record = (await late.run(step, tls=certificates.trusting(pair))).record
        assert record.counts() == {"200": 20}
        assert server.connections == 20


@pytest.mark.parametrize("rate", [None, 20.0])
async def test_stopped_while_connections_are_opened_it_ends_without_them(rate: float | None) -> None:
    async with late_handshakes(free_port(), 60) as late:
        target = LoadTarget("127.0.0.1", late.port, (REQUEST,), ssl.create_default_context())
        generator = LoadGenerator(target, LoadStep(2, rate=rate, timeout=60), LoadRecord())
        asyncio.get_running_loop().call_later(0.2, generator.stop)
        await asyncio.wait_for(generator.run(), 20)
        assert (generator.record.length, generator.record.counts()) == (0, {})


@pytest.mark.parametrize("rate", [None, 100.0])
async def test_a_server_that_is_away_is_told(rate: float | None) -> None:
    generator = LoadGenerator(
        LoadTarget("127.0.0.1", free_port(), (REQUEST,)), LoadStep(2, rate=rate, duration=0.3, warmup=0), LoadRecord()
    )
    await asyncio.wait_for(generator.run(), 10)
    counts = generator.record.counts()
    assert counts[NO_CONNECTION] >= 2
    assert set(counts) <= {NO_CONNECTION, UNSENT}
    assert rate is None or sum(counts.values()) == 30


async def test_what_speaks_another_protocol_is_told() -> None:
    async def greet(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9\r\n")

    async with scripted(greet) as server:
        record = (await server.run(LoadStep(ENOUGH, rate=20, duration=0.3, warmup=0))).record
        assert record.counts() == {NO_HTTP: 6}


async def test_answers_that_differ_from_the_first_are_counted() -> None:
    async def drift(number: int, writer: asyncio.StreamWriter) -> None:
        digits = b"[0.1000001]" if number % 2 else b"[0.1]"
        writer.write(response(b"[0.2]" if number in (6, 7) else digits))

    async with scripted(drift) as server:
        step = LoadStep(1, rate=50, duration=1, warmup=0)
        assert (await server.run(step, check=True)).record.differing == 2
        assert (await server.run(step)).record.differing == 0


async def test_stopped_midway_it_has_what_was_measured_so_far() -> None:
    async with scripted(answer_at_once) as server:
        generator = LoadGenerator(
            LoadTarget("127.0.0.1", server.port, (REQUEST,)), LoadStep(2, duration=60, warmup=0), LoadRecord()
        )
        asyncio.get_running_loop().call_later(1, generator.stop)
        await asyncio.wait_for(generator.run(), 10)
        assert 0 < generator.record.length < 10
        assert generator.record.counts()["200"] >= 1


async def test_over_tls_the_certificate_is_checked(tmp_path: Path) -> None:
    pair = certificates.self_signed(tmp_path, "server")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pair.certificate, pair.key)
    async with scripted(answer_at_once, serving) as server:
        step = LoadStep(ENOUGH, rate=20, duration=0.5, warmup=0)
        good = (await server.run(step, tls=certificates.trusting(pair))).record
        assert good.counts() == {"200": 10}
        bad = (await server.run(step, tls=ssl.create_default_context())).record
        assert set(bad.counts()) <= {NO_CONNECTION, UNSENT} and bad.good == 0


async def test_what_this_program_was_too_busy_to_send_in_time_is_sent_late_and_shows() -> None:
    async with scripted(answer_at_once) as server:
        asyncio.get_running_loop().call_later(1, time.sleep, 1)
        record = (await server.run(LoadStep(ENOUGH, rate=100, duration=1.5, warmup=0))).record
        assert record.counts() == {"200": 150}
        assert record.latencies().highest > 0.3
        assert record.lags.highest > 0.3


def test_times_are_even_or_as_independent_users_come() -> None:
    even = list(itertools.islice(due_times(5.0, 4.0, False), 5))
    assert even == [5.0, 5.25, 5.5, 5.75, 6.0]
    times = list(itertools.islice(due_times(0.0, 100.0, True), 20_001))
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert statistics.mean(gaps) == pytest.approx(0.01, rel=0.03)
    # An exponential distribution's deviation is its mean.
    assert statistics.stdev(gaps) == pytest.approx(0.01, rel=0.05)
    assert times == list(itertools.islice(due_times(0.0, 100.0, True), 20_001))
