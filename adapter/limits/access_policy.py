"""What a request needs to be let in, decided by its path alone: whoever serves it, whatever its method."""

from __future__ import annotations

from typing import Literal, NamedTuple

from adapter.limits.predict_paths import scoring_prediction, v2_prediction

Scope = Literal["free", "predict", "read", "metrics", "everything"]

# The page's files, which have no data (adapter/page/page_files.py); what it shows needs a key that reads.
_PAGE = tuple(
    b"/page/" + name
    for name in (
        b"answer.js", b"api.js", b"app.js", b"base.css", b"charts.js", b"detail.css", b"detail.js", b"dom.js",
        b"fields.js", b"form.js", b"icon.svg", b"list.js", b"numbers.js", b"snippets.js",
    )
)  # fmt: skip
_FREE = frozenset({b"/health/live", b"/health/ready", b"/", *_PAGE})
_METRICS = b"/metrics"
_PREDICT = frozenset({b"predict", b"predict_batched"})


class Need(NamedTuple):
    """What a key must allow. `model` is the name as it stands in the path; only with the scope `predict`."""

    scope: Scope
    model: str = ""


FREE, READ, METRICS = Need("free"), Need("read"), Need("metrics")
EVERYTHING = Need("everything")
_OF_PATH = {**dict.fromkeys(_FREE, FREE), _METRICS: METRICS}


def policy(path: bytes) -> Need:
    """Return what a path needs, as the client wrote it, without its query.

    A path that is not known needs `read`, so that a new address is closed until somebody opens it. One with a percent
    sign could be another address in disguise (names and addresses need none): it needs every scope there is.
    """
    need = _OF_PATH.get(path)
    if need is not None:
        return need
    if b"%" in path:
        return EVERYTHING
    if (found := v2_prediction(path)) is not None:
        return Need("predict", found[0].decode("latin-1"))
    head, _, name = path[1:].partition(b"/")
    if head in _PREDICT and path[:1] == b"/" and name and b"/" not in name:
        return Need("predict", name.decode("latin-1"))
    if (asked := scoring_prediction(path)) is not None:
        # Which model has no name in its address, settings say: to ask it here, a key has to allow all.
        return Need("predict", asked[1].decode("latin-1"))
    return READ
