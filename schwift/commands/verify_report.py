"""What `schwift verify` prints: a table with the worst row of each model that differs, or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from converter.table import format_table
from schwift.commands.verification import Verified

_HEAD = ("MODEL", "RESULT", "ROWS", "REQUESTS", "LARGEST DIFFERENCE", "ROWS THAT DIFFER", "REFUSED", "COMPARED WITH")
_MOST_FEATURES = 200


def format_text(results: Sequence[Verified]) -> str:
    """Format a line for each model, then what is to be known of some."""
    lines = [format_table(_HEAD, [_make_row(each) for each in results])]
    for each in results:
        said = list(each.notes)
        if each.worst is not None:
            features = json.dumps(each.worst.features, ensure_ascii=False)
            cut = features if len(features) <= _MOST_FEATURES else features[:_MOST_FEATURES] + "…"
            said = [str(each.worst), f"features {cut}", *said]
        if said:
            lines.append("\n".join([f"\n{each.name}:", *(f"  {line}" for line in said)]))
    return "\n".join(lines)


def format_json(results: Sequence[Verified]) -> str:
    """Format one object a model."""
    return json.dumps({"models": [_describe(each) for each in results]}, indent=1, ensure_ascii=False)


def _make_row(each: Verified) -> list[str]:
    if not each.requests:
        return [each.name, each.result, *["-"] * (len(_HEAD) - 3), each.asked or "-"]
    counts = [str(each.rows), str(each.requests), f"{each.largest:.3g}", str(len(each.differ)), str(each.refused)]
    return [each.name, each.result, *counts, each.asked]


def _describe(each: Verified) -> dict[str, Any]:
    return {
        "name": each.name,
        "result": each.result,
        "compared_with": each.asked or None,
        "rows": each.rows,
        "requests": each.requests,
        "largest_difference": each.largest,
        "rows_that_differ": len(each.differ),
        "refused": each.refused,
        "worst": None if each.worst is None else asdict(each.worst),
        "notes": list(each.notes),
    }
