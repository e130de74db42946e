"""Steady load on every model and endpoint, whose every answer is judged: the numbers of its row, or an error of the
contract that a fault explains."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp

from adapter.error_codes import CODES
from converter.schema.model import ENDPOINTS
from tests.chaos.checked_client import ChaosAnswer, ask_all
from tests.chaos.faults import Mark
from tests.chaos.subjects import Right, Subject, bodies

_CLIENTS_EACH = 2
_PAUSE_SECONDS = 0.02
# Longer than any deadline of the server: whoever waits so long was forgotten.
_LOST_SECONDS = 20.0
_ERROR_KEYS = {"detail", "code", "request_id"}
# What a server may answer that does nothing wrong itself, whatever is done to it.
_EXPECTED = frozenset(pair for pair in CODES if pair[0] in (200, 503, 504))
# A model is served again when so many answers in a row were right, for so long.
_STEADY_SECONDS, _STEADY_ANSWERS = 1.0, 5


@dataclass(frozen=True)
class Event:
    """One answer: when, from whom, and its code, `ok` for a 200 with the right numbers."""

    at: float
    model: str
    code: str


@dataclass
class Steadiness:
    """What one endpoint of one model did of late. Times are monotonic."""

    last_error: float = 0.0
    # Since the last error.
    first_right: float = 0.0
    right: int = 0

    def note(self, now: float, is_right: bool) -> None:
        if not is_right:
            self.last_error, self.first_right, self.right = now, 0.0, 0
        elif not self.right:
            self.first_right, self.right = now, 1
        else:
            self.right += 1

    def begin(self) -> None:
        """A fault has ended: what was right before it proves nothing."""
        self.first_right, self.right = 0.0, 0


@dataclass
class Judge:
    """Everybody's answers. `violations` are sentences on what must never happen."""

    marks: list[Mark] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    violations: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    steadiness: dict[tuple[str, str], Steadiness] = field(default_factory=dict)

    def hear(self, model: str, endpoint: str, right: Right, answer: ChaosAnswer) -> None:
        now = time.monotonic()
        if answer.status == "200":
            is_right = right(json.loads(answer.content)["predictions"][0])
            self.wrong += not is_right
            code = "ok" if is_right else "wrong"
            if not is_right:
                self.violations[f"{model} answered {endpoint} with numbers that are not of its row"] += 1
        else:
            code = self._error(model, answer)
        self.events.append(Event(now, model, code))
        self.steadiness.setdefault((endpoint, model), Steadiness()).note(now, code == "ok")

    def recovered(self, mark: Mark) -> float:
        """When the last of its models was right again and stayed so; 0 while that is not said yet."""
        now, latest = time.monotonic(), mark.ended
        for (_, model), of_late in self.steadiness.items():
            if model not in mark.models:
                continue
            if of_late.right < _STEADY_ANSWERS or now - of_late.first_right < _STEADY_SECONDS:
                return 0.0
            latest = max(latest, of_late.first_right if of_late.last_error >= mark.began else mark.ended)
        return latest

    def _error(self, model: str, answer: ChaosAnswer) -> str:
        """The code of an error; notes whatever about it the contract does not allow."""
        if not answer.status.isdigit():
            self.violations[f"{model}: a request was lost: {answer.status}"] += 1
            return "lost"
        status, body = int(answer.status), json.loads(answer.content)
        code = str(body.get("code"))
        if set(body) != _ERROR_KEYS or (status, code) not in CODES:
            self.violations[f"{model}: an error that is not of the contract: {status} {sorted(body)} {code}"] += 1
        if status == 503 and int(answer.headers.get("Retry-After", "0")) < 1:
            self.violations[f"{model}: 503 {code} without Retry-After"] += 1
        mark = self._cause(model, answer.started)
        if mark is None:
            self.violations[f"{model}: {status} {code} without a fault of its own"] += 1
            return code
        mark.errors[code] += 1
        if status not in mark.statuses or (status, code) not in _EXPECTED:
            self.violations[f"{model}: {status} {code} after: {mark.kind}"] += 1
        return code

    def _cause(self, model: str, started: float) -> Mark | None:
        """The fault that hurts this model, or did when the request began."""
        for mark in reversed(self.marks[-2:]):
            if model in mark.models and (not mark.recovered or started < mark.recovered):
                return mark
        return None


class _Client:
    """One of the steady ones."""

    def __init__(self, judge: Judge, subject: Subject, endpoint: str) -> None:
        self.subject = subject
        self.endpoint = endpoint
        self._judge = judge
        self._right: Right = lambda _: False

    def begin(self, right: Right) -> None:
        self._right = right

    def hear(self, answer: ChaosAnswer) -> None:
        self._judge.hear(self.subject.name, self.endpoint, self._right, answer)


class Load:
    """Clients of every endpoint of every model, until `stop`."""

    def __init__(self, url: str, subjects: Sequence[Subject], judge: Judge) -> None:
        self._url = url
        self._subjects = subjects
        self._judge = judge
        self._over = False
        self._tasks: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession | None = None

    def start(self) -> None:
        self._session = aiohttp.ClientSession(timeout=_timeout(), connector=aiohttp.TCPConnector(limit=0))
        for subject in self._subjects:
            for endpoint in ENDPOINTS:
                self._tasks += [self._client(self._session, subject, endpoint, True) for _ in range(_CLIENTS_EACH)]

    async def stop(self) -> None:
        """Every request that was sent has its answer; then the connections are closed."""
        self._over = True
        await asyncio.gather(*self._tasks)
        if self._session is not None:
            await self._session.close()

    async def burst(self, session: aiohttp.ClientSession, model: str, count: int) -> None:
        """So many at once, half of them on each endpoint."""
        subject = next(subject for subject in self._subjects if subject.name == model)
        await asyncio.gather(*(self._client(session, subject, ENDPOINTS[i % 2], False) for i in range(count)))

    def _client(
        self, session: aiohttp.ClientSession, subject: Subject, endpoint: str, steady: bool
    ) -> asyncio.Task[None]:
        client = _Client(self._judge, subject, endpoint)
        asked = 0

        def over() -> bool:
            nonlocal asked
            asked += 1
            return self._over if steady else asked > 1

        url = f"{self._url}/{endpoint}/{subject.name}"
        requests = bodies(subject, client.begin, over)
        pause = _PAUSE_SECONDS if steady else 0.0
        return asyncio.create_task(ask_all(session, url, requests, client.hear, pause), name=f"client of {url}")


def _timeout() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=_LOST_SECONDS)
