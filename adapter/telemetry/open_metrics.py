"""OpenMetrics 1.0: who asks for it, and how what Triton writes in Prometheus' older format is put into it."""

from __future__ import annotations

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPEN_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
END = b"# EOF\n"
_OPEN = "application/openmetrics-text"
# From the one that says most.
_TEXT_RANGES = ("text/plain", "text/*", "*/*")
_VERSIONS = {_OPEN: "1.0.0", "text/plain": "0.0.4"}
_KINDS_LEFT_OUT = (b"counter", b"untyped")


def wants_open_metrics(accept: str) -> bool:
    """Return whether an Accept names OpenMetrics, and text no more than that; a range such as `*/*` does not."""
    weights: dict[str, float] = {}
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        named = {name.strip(): value.strip(' "') for name, _, value in (item.partition("=") for item in parameters)}
        # Another version of a format is none that is written here.
        if named.get("version", _VERSIONS.get(kind)) == _VERSIONS.get(kind):
            weights[kind] = max(weights.get(kind, 0.0), _weight(named.get("q", "1")))
    wanted = weights.get(_OPEN, 0.0)
    text = next((weights[kind] for kind in _TEXT_RANGES if kind in weights), 0.0)
    return wanted > 0 and wanted >= text


def to_open_metrics(text: bytes) -> bytes:
    """Return metrics of Prometheus' text format in OpenMetrics, without its end.

    A counter's samples would have to end with `_total`. Triton's do not, and keep their names: of what kind they are is
    then not told.
    """
    # Samples are many, and stay as they are: they pass in one piece up to the next comment.
    samples, *families = (b"\n" + text).split(b"\n#")
    written = [_without_blanks(samples)]
    for family in families:
        comment, _, samples = family.partition(b"\n")
        written += (_translate_comment(comment), _without_blanks(samples))
    return b"".join(written)


def _without_blanks(samples: bytes) -> bytes:
    """Return lines with one end each."""
    while b"\n\n" in samples:
        samples = samples.replace(b"\n\n", b"\n")
    samples = samples.strip(b"\n")
    return samples + b"\n" if samples else b""


def _translate_comment(comment: bytes) -> bytes:
    word, _, rest = comment.strip().partition(b" ")
    name, _, said = rest.partition(b" ")
    if word == b"TYPE":
        return b"# TYPE %b %b\n" % (name, b"unknown" if said in _KINDS_LEFT_OUT else said)
    if word == b"HELP":
        return b"# HELP %b %b\n" % (name, said.replace(b'"', b'\\"'))
    return b""


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
