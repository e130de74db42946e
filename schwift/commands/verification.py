"""One model's served answers beside its original's: one by one, together, joined with others, and beside bad rows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from converter.authoring.original import Original
from converter.authoring.tensor_facts import write_rows
from converter.schema.manifest import ModelEntry
from converter.schema.model import VerifySpec
from converter.schema.samples.compare import compare_rows, default_tolerance, largest_difference
from converter.schema.samples.sample_file import SAMPLE_NAME
from schwift.commands.served_rows import ServedAnswer, ServedModel

Result = Literal["equal", "differs", "failed", "skipped"]

# Clients at once, whose rows are joined; and rows of one request.
_CLIENTS = 8
_MOST_TOGETHER = 64
# Each is asked beside some that are answered: a model that refuses most of its calls has its breaker open.
_MOST_REFUSED = 12
_BESIDE = 3
# A server that is silent for so many rows is not asked for the others.
_MOST_SILENT = 5
_SILENT = (503, 504)


@dataclass(frozen=True)
class WorstRow:
    """Where a served answer is furthest from the original's; `served` and `original` are values, or words."""

    endpoint: str
    way: str
    row: int
    of_sample: bool
    place: str
    served: Any
    original: Any
    features: Any

    def __str__(self) -> str:
        which = f"row {self.row} of {SAMPLE_NAME}" if self.of_sample else f"made-up row {self.row}"
        where = f"/{self.endpoint}, {self.way}: {which}" + (f", {self.place}" if self.place else "")
        return f"{where}: served {_shorten(self.served)}, original {_shorten(self.original)}"


@dataclass(frozen=True)
class Verified:
    """What the comparison of one model came to; `refused` are rows that the original refuses."""

    name: str
    result: Result
    asked: str = ""
    rows: int = 0
    requests: int = 0
    largest: float = 0.0
    differ: frozenset[int] = frozenset()
    refused: int = 0
    worst: WorstRow | None = None
    notes: tuple[str, ...] = ()


class Verification:
    """Compares one model; `form` is that of its rows (`original.describe_form`), `go_on` is called meanwhile."""

    def __init__(
        self,
        entry: ModelEntry,
        form: Mapping[str, Any],
        original: Original,
        served: ServedModel,
        most_bytes: int,
        go_on: Callable[[], None],
    ) -> None:
        self._entry = entry
        self._form = form
        self._original = original
        self._served = served
        self._most_bytes = most_bytes
        self._go_on = go_on
        rules = entry.spec.verify or VerifySpec()
        self._tolerances = [default_tolerance(item.dtype, rules.rtol, rules.atol) for item in entry.outputs]
        self._wanted = [expect_answer(values, entry) for values in original.answers]
        self._differ: set[int] = set()
        self._largest = 0.0
        self._worst: WorstRow | None = None
        self._worst_weight = -1.0
        self._silent = 0

    def run(self) -> Verified:
        """Compare all rows on all endpoints that the model has."""
        good = [number for number, wanted in enumerate(self._wanted) if wanted is not None]
        bad = [number for number, wanted in enumerate(self._wanted) if wanted is None]
        with ThreadPoolExecutor(_CLIENTS) as pool:
            for endpoint in self._entry.spec.endpoints:
                self._compare_all(pool, endpoint, "one by one", [[number] for number in good], 1)
                if endpoint == "predict":
                    # One that is refused takes all others along.
                    fine = [number for number in good if number not in self._differ]
                    self._compare_all(pool, endpoint, "together", list(self._divide(fine)), 1)
                else:
                    self._compare_all(pool, endpoint, "joined", [[number] for number in good], _CLIENTS)
                for number in bad[:_MOST_REFUSED]:
                    group = [[number], *([other] for other in good[:_BESIDE])]
                    self._compare_all(pool, endpoint, "beside a refused row", group, len(group))
        result: Result = "differs" if self._differ else "equal" if good else "failed"
        return Verified(
            self._entry.name,
            result,
            self._original.asked,
            len(good),
            self._served.requests,
            self._largest,
            frozenset(self._differ),
            len(bad),
            self._worst,
            tuple(self._explain(bool(good))),
        )

    def _divide(self, numbers: Sequence[int]) -> Iterator[list[int]]:
        """Divide rows into requests that the server takes."""
        part: list[int] = []
        size = 0
        for number in numbers:
            length = len(json.dumps(self._original.rows[number], ensure_ascii=False).encode())
            if part and (len(part) == _MOST_TOGETHER or size + length > self._most_bytes // 2):
                yield part
                part, size = [], 0
            part.append(number)
            size += length
        if part:
            yield part

    def _compare_all(
        self, pool: ThreadPoolExecutor, endpoint: str, way: str, requests: Sequence[list[int]], at_once: int
    ) -> None:
        """Send requests, so many at once, and compare their answers."""

        def ask(numbers: list[int]) -> ServedAnswer:
            rows = [self._original.rows[number] for number in numbers]
            return self._served.ask(endpoint, write_rows(dict(self._form), rows))

        for start in range(0, len(requests), at_once):
            self._go_on()
            if self._silent >= _MOST_SILENT:
                return
            group = requests[start : start + at_once]
            for numbers, served in zip(group, pool.map(ask, group), strict=True):
                self._silent += served.status in _SILENT
                for place, number in enumerate(numbers):
                    self._compare(endpoint, way, number, served, place)

    def _compare(self, endpoint: str, way: str, number: int, served: ServedAnswer, place: int) -> None:
        """Compare the answer to one row, which is at this place of a request's rows."""
        wanted = self._wanted[number]
        if not served.answered:
            if wanted is not None:
                self._note(endpoint, way, number, "", f"nothing ({served.explain()})", self._show(wanted), math.inf)
            return
        names = [item.name for item in self._entry.outputs]
        outputs = served.predictions
        answers = [outputs[name][place] for name in names] if isinstance(outputs, Mapping) else [outputs[place]]
        if wanted is None:
            reason = (self._original.refused or {}).get(number, "its answer is not finite")
            self._note(endpoint, way, number, "", self._show(answers), f"refused ({reason})", math.inf)
            return
        largest = max(largest_difference(mine, theirs) for mine, theirs in zip(answers, wanted, strict=True))
        self._largest = max(self._largest, largest)
        for name, mine, theirs, tolerance in zip(names, answers, wanted, self._tolerances, strict=True):
            for difference in compare_rows([mine], [theirs], tolerance):
                where = f"{name}{difference.place}" if len(names) > 1 else difference.place
                weight = largest_difference(difference.served, difference.original) or math.inf
                self._note(endpoint, way, number, where, difference.served, difference.original, weight)

    def _note(
        self, endpoint: str, way: str, number: int, place: str, served: Any, original: Any, weight: float
    ) -> None:
        """Note a row that differs, and whether it is the worst."""
        self._differ.add(number)
        if weight <= self._worst_weight:
            return
        self._worst_weight = weight
        of_sample = number < self._original.of_sample
        features = self._original.rows[number]
        self._worst = WorstRow(endpoint, way, number, of_sample, place, served, original, features)

    def _show(self, answers: Sequence[Any]) -> Any:
        return answers[0] if len(answers) == 1 else list(answers)

    def _explain(self, compared: bool) -> Iterator[str]:
        """Say what the original itself does, and what could not be compared."""
        again, batch = (self._differ & set(rows) for rows in (self._original.again, self._original.batch))
        if again:
            yield (
                f"the original itself gives row {min(again)} another answer when it is asked again: write "
                "`verify: false` if it draws lots"
            )
        elif batch:
            yield (
                f"the original itself gives row {min(batch)} another answer together with others: served rows are "
                "joined with those of other clients, so let it answer each row for itself"
            )
        if not compared:
            yield f"nothing was compared: the original answers none of the rows: write a {SAMPLE_NAME}"
        elif not self._original.of_sample:
            yield f"it has no {SAMPLE_NAME}: made-up rows were compared"
        if self._silent >= _MOST_SILENT:
            yield "the server did not answer several rows in time, and was not asked for all others"


def expect_answer(values: Sequence[Any] | None, entry: ModelEntry) -> list[Any] | None:
    """Return the original's values of all outputs as they are served; None if the row is to be refused."""
    if values is None:
        return None
    try:
        return [_as_served(value, item.dtype, entry) for value, item in zip(values, entry.outputs, strict=True)]
    except _NotFinite:
        return None
    except ValueError:
        # Other outputs than the config has, which the server will say.
        return list(values)


class _NotFinite(Exception):
    """A number that JSON does not have, of a model whose config does not let it through."""


def _as_served(value: Any, dtype: str, entry: ModelEntry) -> Any:
    if isinstance(value, list):
        return [_as_served(inner, dtype, entry) for inner in value]
    if isinstance(value, str) or dtype in ("string", "bool"):
        return value
    if not dtype.startswith("float"):
        return int(value) if isinstance(value, bool) else value
    with np.errstate(over="ignore"):
        number = float(np.dtype(dtype).type(value))
    if math.isfinite(number):
        return number
    if entry.spec.non_finite == "error":
        raise _NotFinite
    return None


def _shorten(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:200] + "…"
