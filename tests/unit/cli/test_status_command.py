"""``trunkline status`` and ``doctor`` as a person and a script get them, without a Kafka."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from trunkline.admin.destinations import DestinationOverview
from trunkline.admin.doctor import Diagnosis
from trunkline.admin.health import (
    DestinationFigures,
    FlowFigures,
    LetterFigures,
    RoutingFigures,
    SourceFigures,
)
from trunkline.admin.measures import Measure
from trunkline.admin.sources import SourceOverview, SourceStatus
from trunkline.admin.status import WorkerStatus
from trunkline.admin.targets import Target
from trunkline.cli import app, doctor, status
from trunkline.streams.admission.manual import OverrideRecord
from trunkline.times import iso

NOW = 1_900_000_000.0
DOWN = WorkerStatus("w1", "open", iso(NOW - 90), None, 4, 1, iso(NOW), 1.0, stale=False)
RUNS = SourceStatus("w1", "running", None, None, None, iso(NOW), 1.0, stale=False, rate=12.4)


def figures(*workers: WorkerStatus) -> FlowFigures:
    position = {"phase": "snapshot", "progress": {"of": "p.x", "rows": 7, "about": 90}}
    shop = SourceOverview(
        Target("orders", "shop"), OverrideRecord(), "auto", 1, position, status=RUNS, late=4.0
    )
    erp = DestinationOverview(Target("orders", "erp"), OverrideRecord(), "auto", 2, workers)
    retries = Measure(3, next_due=NOW + 75)
    inbox = Measure(12_000, False, NOW - 30, 0.25)
    return FlowFigures(
        "orders",
        NOW,
        [SourceFigures(shop)],
        RoutingFigures(1, {"orders.all": Measure(rate=30.0)}),
        [DestinationFigures(erp, inbox, retries, LetterFigures())],
    )


def run(monkeypatch: pytest.MonkeyPatch, found: list[FlowFigures], *arguments: str) -> Any:
    monkeypatch.setattr(status, "flow_figures", lambda backbone, names: found)
    return CliRunner().invoke(app, ["status", *arguments])


def test_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, [figures()])
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "all is well")
    rows = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line}
    assert rows["orders.shop"][1:5] == ["running", "12/s", "4", "s"]
    assert "snapshot, p.x: 7 rows of about 90 (7 %)" in result.stdout
    assert rows["orders.erp"][1:] == [
        *("closed", "2", "0.25/s", "≤", "12,000", "30", "s"),
        *("3", "in", "1", "min", "0"),
    ]


def test_what_is_urgent_is_told_with_its_remedy_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = run(monkeypatch, [figures(DOWN)])
    assert result.exit_code == 2
    last = result.stdout.splitlines()[-2:]
    assert last[0].startswith(
        "wrong: orders.erp: its system is down, nothing is sent; at most 12,0"
    )
    assert last[0].endswith(f"(since {iso(NOW - 90)[:19]}Z)")
    assert last[1] == "    to mend it: mend its system; it drains by itself"


def test_json_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, [figures(DOWN)], "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["well"]) == (2, False)
    (flow,) = told["flows"]
    (trouble,) = flow["troubles"]
    assert (trouble["where"], trouble["urgent"]) == ("orders.erp", True)
    (erp,) = flow["destinations"]
    assert erp["inbox"]["waiting"] == 12_000
    assert erp["retries"]["next_due"] == iso(NOW + 75)
    assert flow["sources"][0]["position"]["phase"] == "snapshot"
    assert flow["routing"]["topics"]["orders.all"]["rate"] == 30.0


def test_no_flow_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, [])
    assert (result.exit_code, "no flow has run" in result.stdout) == (0, True)


def test_the_doctor_tells_each_thing_and_fails_if_one_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [
        Diagnosis("Kafka", "it answers"),
        Diagnosis("registry", "its clock is 9 s behind", "warning", "chrony"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda *given, **more: iter(found))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "ok      Kafka: it answers",
        "warning registry: its clock is 9 s behind",
        "        mend it: chrony",
        "",
        "0 wrong, 1 warnings, of 2 things",
    ]
    found.append(Diagnosis("orders.erp", "away", "wrong"))
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 1
    assert [json.loads(line)["verdict"] for line in result.stdout.splitlines()] == [
        *("ok", "warning", "wrong")
    ]


def test_a_flow_that_cannot_be_loaded_is_a_diagnosis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda *given, **more: iter(()))
    result = CliRunner().invoke(app, ["doctor", "no/such/flow.py"])
    assert result.exit_code == 1
    assert result.stdout.startswith("wrong   no/such/flow.py: ")
