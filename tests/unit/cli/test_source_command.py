"""``trunkline source`` as a person calls it, as far as no Kafka is needed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import pytest
from typer.testing import CliRunner

from trunkline.admin.sources import SnapshotStatus, SourceOverview, SourceStatus
from trunkline.admin.targets import Target
from trunkline.cli import app
from trunkline.cli.source import _in_words
from trunkline.errors import ConfigurationError
from trunkline.streams.admission.manual import OverrideRecord

NOON = datetime(2030, 5, 31, 12, tzinfo=UTC)
FLOW = """
from trunkline import Flow, Params, Record
from trunkline.connectors.base import Finding, Source
from trunkline.errors import SourceError
from trunkline.schemas.commerce import Order

class Shop(Source):
    def read(self, position, stop):
        yield from ()

    def check(self):
        return [
            Finding("the role may not read", "GRANT SELECT;"),
            Finding("nor write", "GRANT SELECT;"),
            Finding("the disk is small", warning=True),
        ]

class Away(Shop):
    def check(self):
        raise SourceError("no route to host")

flow = Flow("orders", Params)

@flow.source
def shop(env: Params) -> Shop:
    return Shop()

@flow.source
def away(env: Params) -> Away:
    return Away()

@flow.topic("orders.all", source=[shop, away])
def orders(row: Record) -> Order:
    return Order(id=row.key, status="", total_cents=1)
"""


@pytest.fixture
def flow(tmp_path: Path) -> str:
    path = tmp_path / "flow.py"
    path.write_text(dedent(FLOW))
    return str(path)


def test_check_tells_every_fault_and_each_statement_once(flow: str) -> None:
    result = CliRunner().invoke(app, ["source", "check", flow])
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert "orders.shop: the role may not read" in lines
    assert "orders.shop: warning: the disk is small" in lines
    assert "orders.away: no route to host" in lines, "the others are asked all the same"
    assert lines.count("GRANT SELECT;") == 1


def test_check_of_a_source_that_there_is_not(flow: str) -> None:
    result = CliRunner().invoke(app, ["source", "check", flow, "erp"])
    assert isinstance(result.exception, ConfigurationError)
    assert "has no source 'erp'; it has shop, away" in str(result.exception)


@pytest.mark.parametrize(
    "words",
    [[], ["--pause", "a", "--stop", "a"], ["--where", "n > 1"], ["--stop", "a", "--where", "n"]],
)
def test_a_snapshot_is_one_thing_at_a_time(words: list[str]) -> None:
    result = CliRunner().invoke(app, ["source", "snapshot", "orders.shop", *words])
    assert isinstance(result.exception, ConfigurationError)
    assert "give one of --table" in str(result.exception)


def test_a_source_that_fails_in_its_snapshot_is_told_in_words() -> None:
    status = SourceStatus(
        "w1", "failing", "2030-05-31T11:00:00", "SourceError: away", "", "", 3.0, stale=False
    )
    snapshot = SnapshotStatus("a1", "public.x", "n > 1", "running", 7, 90, None, "ada", "", "")
    found = SourceOverview(
        Target("orders", "shop"),
        OverrideRecord(),
        "auto",
        members=2,
        position={
            "phase": "snapshot",
            "progress": {"of": "public.orders", "rows": 12000, "about": 300000},
            "slot": "shop",
        },
        stored_at=NOON,
        status=status,
        late=125.0,
        snapshots=[snapshot],
    )
    assert _in_words(found, NOON.timestamp() + 5) == [
        "orders.shop: auto (nothing is commanded)",
        "failing since 2030-05-31T11:00:00, in w1",
        "workers that may run it: 2",
        "phase: snapshot, public.orders: 12,000 rows of about 300,000 (4 %)",
        'position: {"slot": "shop"}, stored 5 s ago',
        "snapshot a1 of public.x where n > 1: running, 7 rows of about 90",
        "late: 2 min",
        "last error: SourceError: away",
    ]


def test_a_source_that_never_ran_and_one_that_is_called() -> None:
    found = SourceOverview(Target("orders", "shop"), OverrideRecord(), "auto")
    assert _in_words(found, 0)[1:] == [
        "no worker has run it",
        "workers that may run it: 0",
        "position: none: it never ran",
    ]
    status = SourceStatus(
        "w1", "listening", "2030-05-31T11:00:00", None, None, "", 3.0, stale=False
    )
    called = SourceOverview(Target("orders", "hook"), OverrideRecord(), "auto", status=status)
    assert _in_words(called, 0)[1:] == ["listening since 2030-05-31T11:00:00, in w1"]
