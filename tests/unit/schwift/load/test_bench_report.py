from __future__ import annotations

from dataclasses import replace

from schwift.load.bench_report import format_results
from schwift.load.step_result import PERCENTILES, find_knee
from tests.unit.schwift.load.step_results import make_result


def p99(milliseconds: float) -> dict[str, float]:
    return {**dict.fromkeys(PERCENTILES, 1.0), "p99": milliseconds}


RAMP = [make_result(connections=n, latency_ms=p99(n)) for n in (1, 4, 16)]


def test_a_table_has_a_row_for_each_step() -> None:
    head, first, *_ = format_results(RAMP, None).splitlines()
    assert head.split("  ")[0] == "MODEL"
    assert first.split() == ["flowers", "1", "100", "200", "1.00", "1.00", "1.00", "1.00", "1.00", "0"]
    assert "Closed loop" in format_results(RAMP, None)


def test_the_knee_is_the_last_step_before_the_first_beyond_the_bound() -> None:
    assert find_knee(RAMP, None) is RAMP[2]
    assert find_knee(RAMP, 4.0) is RAMP[1]
    assert find_knee(RAMP, 0.5) is None
    assert find_knee([RAMP[0], RAMP[2], RAMP[1]], 4.0) is RAMP[0]
    text = format_results(RAMP, 4.0)
    assert "the knee is at 4 connections: 100 answers/s, p99 4.00 ms, the last step without errors" in text
    assert "no step was answered without errors and with p99 up to 0.5 ms" in format_results(RAMP, 0.5)
    assert "all steps were answered without errors, the last with 16 connections" in format_results(RAMP, None)


def test_errors_and_wrong_answers_end_a_ramp() -> None:
    failed = make_result(connections=64, outcomes={"200": 9, "503 overloaded": 1})
    wrong = make_result(connections=64, differing=3)
    for broken in (failed, wrong):
        assert find_knee([*RAMP, broken], None) is RAMP[2]
        assert not broken.is_clean
    assert "flowers, 64 connections: 200 x 9, 503 overloaded x 1" in format_results([failed], None)
    assert "3 answers differ" in format_results([wrong], None)


def test_who_does_not_keep_up_with_a_rate_is_beyond_the_knee() -> None:
    steps = [make_result(rate=rate, offered=rate, throughput=min(rate, 150.0)) for rate in (100.0, 200.0)]
    assert find_knee(steps, None) is steps[0]
    text = format_results(steps, None)
    assert "the knee is at 100 requests/s" in text and "as fast as they came" in text
    assert "Open loop" in text and "REQUESTS/S" in text


def test_a_step_without_any_answer_and_a_busy_client_are_said() -> None:
    nothing = make_result(rates=(0.0,), outcomes={"500": 3})
    assert "nothing was answered" in format_results([nothing], None)
    assert not nothing.is_clean
    assert "this client took 97% of a core" in format_results([make_result(client_cpu=0.97)], None)
    late = make_result(rate=100.0, client_lag_ms=p99(2.5), throughput=99.5)
    assert "requests left late, p99 2.50 ms" in format_results([late], None)
    # These waited for a connection.
    assert "requests left late" not in format_results([replace(late, throughput=90.0)], None)


def test_at_random_fewer_may_be_due_than_asked_for() -> None:
    few = make_result(rate=100.0, poisson=True, offered=90.0, throughput=89.0)
    assert find_knee([few], None) is few
    assert find_knee([replace(few, throughput=80.0)], None) is None


def test_a_single_step_says_which_bound_it_missed() -> None:
    assert "not within" not in format_results([make_result()], 2.5)
    slow = format_results([make_result(latency_ms=p99(3))], 1.0)
    assert "flowers, 16 connections: not within its bounds: p99 3.00 ms is over 1 ms" in slow
    failed = make_result(rate=100.0, throughput=50.0, outcomes={"200": 500, "500": 500}, differing=2)
    text = format_results([failed], 100.0)
    assert (
        "not within its bounds: 500 requests without a good answer, 2 answers that differ, "
        "50 answers/s where 100 were due\n"
    ) in text
    assert "not within its bounds: no good answers\n" in format_results([make_result(outcomes={"500": 3})], 100.0)
