"""One line in the log for each request, if such are asked for; log_setup.py says whether, where and in which form.

Nothing of a request's body or headers stands in it but the id that was accepted; names are those of the manifest.
"""

from __future__ import annotations

import logging

from adapter.request_timings import RequestTimings

LOGGER = "schwift.requests"
_log = logging.getLogger(LOGGER)
_REFUSED = 400


class Line(dict[str, str | int | float]):
    """The fields of a line: as text `name=value` each, and as they are for a formatter that takes fields."""

    def __str__(self) -> str:
        return " ".join([f"{name}={value}" for name, value in self.items()])


class AccessLog:
    """Log a line for each request; `stages` adds the time of each of its stages."""

    def __init__(self, stages: bool) -> None:
        self._stages = stages

    def wants(self, status: int) -> bool:
        """Return whether a request that is answered with this status gets a line."""
        return _log.isEnabledFor(_level(status))

    def predict(
        self,
        request_id: str,
        endpoint: str,
        model: str,
        client: str,
        timings: RequestTimings,
        status: int,
        code: str,
        seconds: float,
        key: str | None = None,
    ) -> None:
        """Log a request on a predict endpoint.

        `seconds` is the time from its head to its answer, `key` the name of the key that it showed, or None.
        """
        line = Line(
            request_id=request_id, endpoint=endpoint, model=model, rows=timings.rows, regime=timings.regime or "-",
            status=status, code=code, client=client, ms=_ms(seconds),
            queue_ms=_ms(timings.queue), model_ms=_ms(timings.model),
        )  # fmt: skip
        if key is not None:
            line["key"] = key
        if self._stages:
            line["parse_ms"] = _ms(timings.parse)
            line["write_ms"] = _ms(timings.write)
        _log.log(_level(status), line)

    def other(
        self, request_id: str, endpoint: str, client: str, status: int, seconds: float, key: str | None = None
    ) -> None:
        """Log any other request; `endpoint` is the pattern that its address fits, or `-`."""
        line = Line(request_id=request_id, endpoint=endpoint, status=status, client=client, ms=_ms(seconds))
        if key is not None:
            line["key"] = key
        _log.log(_level(status), line)


def _level(status: int) -> int:
    return logging.INFO if status < _REFUSED else logging.WARNING


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
