"""Grafana's dashboards, made of ``panels.py``: ``python deploy/grafana/generate.py`` writes them
here and into the chart; with ``--check`` it writes nothing, and fails if one is stale.

``panels.py`` says what they show. What a dashboard asks for first, it has as variables: ``$flow``,
``$destination``, ``$source``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from panels import DASHBOARDS, Panel

HERE = Path(__file__).parent
CHART = HERE.parent / "helm" / "trunkline" / "files" / "dashboards"
WIDTH, HEIGHT = 8, 8
"""Of a panel, in Grafana's grid of 24 columns."""
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard(name: str) -> dict[str, Any]:
    """One of them, as Grafana imports it (schema 39, of Grafana 10 and later)."""
    title, panels, variables = DASHBOARDS[name]
    return {
        "uid": f"trunkline-{name}",
        "title": title,
        "tags": ["trunkline"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "links": [
            {
                "type": "dashboards",
                "tags": ["trunkline"],
                "title": "Trunkline",
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": [_datasource(), *(_variable(*one) for one in variables.items())]},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _datasource() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.limits is not None:
        orange, red = panel.limits
        steps += [{"color": "orange", "value": orange}] if orange < red else []
        steps.append({"color": "red", "value": red})
    lines = {"drawStyle": "line", "fillOpacity": 10, "showPoints": "never"}
    across = 24 // WIDTH
    place = {"x": number % across * WIDTH, "y": number // across * HEIGHT, "w": WIDTH, "h": HEIGHT}
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "thresholds": {"mode": "absolute", "steps": steps},
                **({"custom": lines} if panel.kind == "timeseries" else {}),
            },
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}}
        if panel.kind == "timeseries"
        else {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background"},
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": SOURCE,
                "expr": query,
                "legendFormat": says,
            }
            for place, (query, says) in enumerate(panel.queries)
        ],
    }


def files() -> dict[Path, str]:
    """What this makes, by its place."""
    found = {}
    for name in DASHBOARDS:
        text = json.dumps(dashboard(name), indent=1) + "\n"
        found |= {folder / f"trunkline-{name}.json": text for folder in (HERE, CHART)}
    return found


def main() -> int:
    """Write the dashboards, or say which are stale. Returns the exit code."""
    stale = [
        path for path, text in files().items() if not path.exists() or path.read_text() != text
    ]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path} is stale: python deploy/grafana/generate.py", file=sys.stderr)
        return int(bool(stale))
    CHART.mkdir(parents=True, exist_ok=True)
    for path in stale:
        path.write_text(files()[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
