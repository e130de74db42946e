"""Requests a second of models that are asked in turn: isolated and packed, beside Triton's own front end."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.dense import turns
from tests.bench.rig.results import Bar, Results, median, noise
from tests.support.servers.server import Server

_IN_USE = (1, 2, 5, 10, 40)
_CONNECTIONS = (8, 64)
# Isolated models at 8 connections, of Triton's own requests a second.
_ISOLATED_IN_USE, _ISOLATED = (1, 2, 5, 10), 0.9
# Packed ones of Triton's own of isolated ones, by models in use and connections.
_PACKED = {
    **{(count, 8): 1.0 for count in (2, 5, 10)},
    **{(count, 64): 1.3 for count in (2, 5, 10)},
    (40, 8): 2.0,
    (40, 64): 4.0,
}
_ALONE_CONNECTIONS, _ALONE = (1, 16, 64), 0.95


def in_turn(
    isolated: Server, packed: Server, names: Sequence[str], seconds: float, rounds: int, results: Results
) -> None:
    """Ask the first 1, 2, 5 … of the models in turn, of both servers in each round, and of the first one's Triton."""
    rows = []
    for count in _IN_USE:
        asked = names[:count]
        for connections in _CONNECTIONS:
            targets = {
                "isolated": turns.adapter(isolated, asked),
                "Triton": turns.triton(isolated, asked),
                "packed": turns.adapter(packed, asked),
            }
            found = turns.measure(targets, connections, seconds, rounds)
            rates = {name: turns.rates(runs) for name, runs in found.items()}
            alone = turns.ratio(found["isolated"], found["Triton"])
            together = turns.ratio(found["packed"], found["Triton"])
            rows.append([
                str(count), str(connections), *(f"{median(rates[name]):.0f}" for name in targets),
                f"{max(map(noise, rates.values())):.0%}", f"{alone:.2f}", f"{together:.2f}",
            ])  # fmt: skip
            results.raw.setdefault("in_turn", []).append({"models": count, "connections": connections, **rates})
            if connections == min(_CONNECTIONS) and count in _ISOLATED_IN_USE:
                what = f"{count} isolated in turn at {connections}: adapter / Triton's own req/s"
                results.bars.append(Bar(what, alone, _ISOLATED))
            if (count, connections) in _PACKED:
                what = f"{count} packed in turn at {connections}: adapter / Triton's own of isolated ones"
                results.bars.append(Bar(what, together, _PACKED[count, connections]))
    head = ("models in use", "connections", "isolated", "Triton's own", "packed", "noise", "isolated / Triton's",
            "packed / Triton's")  # fmt: skip
    results.table(f"{len(names)} models, req/s, one row a request", head, rows)


def alone(
    isolated: Server, packed: Server, names: Sequence[str], seconds: float, rounds: int, results: Results
) -> None:
    """Ask one model alone, packed and isolated."""
    rows = []
    for connections in _ALONE_CONNECTIONS:
        targets = {"isolated": turns.adapter(isolated, names[:1]), "packed": turns.adapter(packed, names[:1])}
        found = turns.measure(targets, connections, seconds, 2 * rounds + 1)
        ratio = turns.ratio(found["packed"], found["isolated"])
        rates = {name: turns.rates(runs) for name, runs in found.items()}
        spread = max(map(noise, rates.values()))
        rows.append([
            str(connections), *(f"{median(rates[name]):.0f}" for name in targets), f"{spread:.0%}", f"{ratio:.2f}",
        ])  # fmt: skip
        results.bars.append(Bar(f"one packed model alone at {connections}: packed / isolated req/s", ratio, _ALONE))
        results.raw.setdefault("alone", []).append({"connections": connections, **rates})
    results.table("One model asked alone, req/s", ("connections", "isolated", "packed", "noise", "ratio"), rows)
