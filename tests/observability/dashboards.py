"""The dashboards of the repo, and the queries in them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))


@dataclass(frozen=True)
class Query:
    panel: str
    expression: str

    def filled_in(self, models: str, interval: str) -> str:
        """As Grafana would send it, for these models as a regular expression."""
        return self.expression.replace("$model", models).replace("$__rate_interval", interval)


def read(path: Path) -> dict[str, Any]:
    dashboard: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return dashboard


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries() -> list[Query]:
    return [
        Query(panel["title"], target["expr"])
        for path in DASHBOARDS
        for panel in panels(read(path))
        for target in panel["targets"]
    ]
