"""Grafana's dashboards: made of one source, of metrics and labels that there are."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Counter, Gauge, Histogram

from docs_pages import ROOT
from helm_kit import of_kind, render
from promtool_kit import promtool
from trunkline.streams.metrics import Metrics

FOLDER = ROOT / "deploy" / "grafana"
FILES = sorted(FOLDER.glob("*.json"))
LABELLED: dict[str, set[str]] = {
    metric._name: set(metric._labelnames)
    for metric in vars(Metrics()).values()
    if isinstance(metric, Counter | Gauge | Histogram)
}
ADDED = {"le", "instance"}
"""Labels of histograms, and those that a scrape adds."""
IMAGE = {"image": {"repository": "registry.example.com/acme/flows", "tag": "1"}}


def queries(path: Path) -> list[str]:
    found = json.loads(path.read_text())
    return [target["expr"] for panel in found["panels"] for target in panel["targets"]]


def test_they_are_as_their_source_says() -> None:
    command = [sys.executable, str(FOLDER / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(FILES) == 4


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_their_queries_ask_for_metrics_and_labels_that_there_are(path: Path) -> None:
    for query in queries(path):
        named = re.findall(r"\btrunkline_\w+", query)
        assert named, query
        known = ADDED.copy()
        for name in named:
            base = re.sub(r"_(total|bucket|sum|count)$", "", name)
            assert base in LABELLED, name
            known |= LABELLED[base]
        asked = re.findall(r"(\w+)=~?\"", query)
        for by in re.findall(r"\bby \(([^)]*)\)", query):
            asked += [label.strip() for label in by.split(",")]
        assert set(asked) <= known, query


def test_prometheus_reads_each_query(tmp_path: Path) -> None:
    every = [query.replace("$", "") for path in FILES for query in queries(path)]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(every)]
    file = tmp_path / "panels.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    command = [promtool(), "check", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_panels_do_not_lie_on_each_other_and_name_what_they_show(path: Path) -> None:
    found = json.loads(path.read_text())
    places = [tuple(panel["gridPos"].values()) for panel in found["panels"]]
    assert len(set(places)) == len(places)
    assert all(panel["title"] for panel in found["panels"])
    assert len({panel["id"] for panel in found["panels"]}) == len(places)
    assert found["uid"] == path.stem


def test_every_metric_of_a_worker_is_on_a_dashboard() -> None:
    shown = " ".join(query for path in FILES for query in queries(path))
    assert {name for name in LABELLED if name not in shown} == {"trunkline_events_in"}


def test_the_chart_makes_a_config_map_of_each_if_its_values_say_so() -> None:
    values: dict[str, Any] = {**IMAGE, "flows": {"orders": {"file": "flows/orders.py"}}}
    assert not boards(values)
    values["metrics"] = {"dashboards": {"enabled": True, "labels": {"team": "a"}}}
    found = boards(values)
    assert {**found} == {path.name: json.loads(path.read_text()) for path in FILES}


def boards(values: dict[str, Any]) -> dict[str, Any]:
    """The dashboards among the objects of a release."""
    data = {}
    for one in of_kind(render(values), "ConfigMap"):
        if "grafana_dashboard" in one["metadata"]["labels"]:
            data |= one["data"]
    return {name: json.loads(text) for name, text in data.items()}
