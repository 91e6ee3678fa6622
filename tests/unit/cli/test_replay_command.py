"""``trunkline replay`` as a person calls it, as far as no Kafka is needed."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from trunkline.admin import replays
from trunkline.admin.replay_scope import Preview
from trunkline.admin.replays import RequestStatus
from trunkline.cli import app
from trunkline.cli.options import bound_of
from trunkline.cli.replay import _tell_preview
from trunkline.errors import ConfigurationError
from trunkline.streams.replay.request import PartitionProgress, Request

REQUEST = Request(
    id="7f",
    kind="replay",
    destination="erp",
    ranges={("orders", 0): range(3, 9), ("orders", 1): range(2)},
    where="data.total > 1",
    rate=10.0,
    why="a try",
    by="ada@desk",
    at="2026-11-22T14:30:00.000+00:00",
)
STATUS = RequestStatus(
    REQUEST,
    {"sent": 4, "superseded": 1},
    {
        ("orders", 0): PartitionProgress(8, {"sent": 4}),
        ("orders", 1): PartitionProgress(None, {"superseded": 1}, True),
        ("orders", 2): PartitionProgress(),
    },
)


def test_a_range_begins_at_a_time_an_offset_or_where_the_topic_does() -> None:
    assert bound_of("") is None
    assert bound_of("1200") == 1200
    assert bound_of("2030-05-31T16:00Z") == datetime(2030, 5, 31, 16, tzinfo=UTC)
    ago = bound_of("2h")
    assert isinstance(ago, datetime)
    assert abs(datetime.now(UTC) - timedelta(hours=2) - ago) < timedelta(minutes=1)


@pytest.mark.parametrize("text", ["yesterday", "-5", "99999999d", "9999-12-31T23:59-14:00"])
def test_another_beginning_is_refused_without_a_traceback(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"no time|before the year 1"):
        bound_of(text)
    line = ["replay", "orders", "--to", "f.erp", f"--from={text}"]
    assert isinstance(CliRunner().invoke(app, line).exception, ConfigurationError)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["status", "abc"], "'abc': write FLOW.ID, as orders.3f2a91c0b7d4"),
        (["pause", "orders."], "write FLOW.ID"),
        (["commerce.orders", "--to", "erp"], "write FLOW.DESTINATION"),
        (["commerce.orders", "--to", "f.erp", "--mode", "all"], "--mode 'all': it is state or"),
        (["commerce.orders", "--to", "f.erp", "--rate", "fast"], "'fast' is not a rate"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_asked(line: list[str], message: str) -> None:
    failed = CliRunner().invoke(app, ["replay", *line])
    assert isinstance(failed.exception, ConfigurationError)
    assert message in str(failed.exception)


@pytest.fixture
def _there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow has this one request."""
    monkeypatch.setattr(replays, "list_requests", lambda backbone, flow: [STATUS])
    monkeypatch.setattr(replays, "request_status", lambda backbone, flow, id: STATUS)


@pytest.mark.usefixtures("_there")
def test_a_status_has_what_was_asked_and_each_partition() -> None:
    lines = CliRunner().invoke(app, ["replay", "status", "f.7f"]).output.splitlines()
    assert lines[0] == "replay 7f to erp: running"
    for asked in ("topic: orders", "mode: state", "where: data.total > 1", "rate: 10.0"):
        assert f"  {asked}" in lines
    assert "  so far: 4 sent, 1 superseded" in lines
    table = [line.split() for line in lines[-3:]]
    assert table == [
        ["orders/0", "8", "3", "to", "9", "4", "sent"],
        ["orders/1", "done", "0", "to", "2", "1", "superseded"],
        ["orders/2", "nothing", "yet"],
    ]


@pytest.mark.usefixtures("_there")
def test_a_list_has_a_line_each() -> None:
    _, line = CliRunner().invoke(app, ["replay", "list", "f"]).output.splitlines()
    assert line.split()[:4] == ["7f", "replay", "erp", "running"]
    assert line.rstrip().endswith("ada@desk  4 sent, 1 superseded")


@pytest.mark.usefixtures("_there")
def test_json_is_the_record_with_its_counts_and_partitions() -> None:
    told = json.loads(CliRunner().invoke(app, ["replay", "status", "f.7f", "--json"]).output)
    assert told == {
        "id": "7f",
        **REQUEST.to_record(),
        "counts": {"sent": 4, "superseded": 1},
        "partitions": {
            "orders/0": {"next": 8, "counts": {"sent": 4}, "done": False},
            "orders/1": {"next": None, "counts": {"superseded": 1}, "done": True},
            "orders/2": {"next": None, "counts": {}, "done": False},
        },
    }
    (only,) = json.loads(CliRunner().invoke(app, ["replay", "list", "f", "--json"]).output)
    assert only == told


@pytest.mark.parametrize("command", ["pause", "cancel", "continue"])
def test_a_change_is_told(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def change(backbone: Any, flow: str, id: str, *, why: str) -> Request:
        asked.append((flow, id, why))
        return REQUEST.with_state("paused")

    monkeypatch.setattr(replays, f"{command}_request", change)
    said = CliRunner().invoke(app, ["replay", command, "eu.orders.7f", "--why", "lunch"])
    assert said.output == "replay 7f: paused\n"
    assert asked == [("eu.orders", "7f", "lunch")]


def test_a_preview_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    preview = Preview(Counter({"order.paid": 3, "": 1}), {b"a", b"b"}, 5, 2, "no field 'x'")
    _tell_preview(preview, REQUEST)
    said = capsys.readouterr().out
    assert [line.split() for line in said.splitlines()[1:3]] == [
        ["(no", "ce_type)", "1"],
        ["order.paid", "3"],
    ]
    assert "would send 4 events of 2 keys to erp" in said
    assert "would leave out 5 superseded, 2 not fitting --where" in said
    assert "--where could not be evaluated for some: no field 'x'" in said


def test_a_preview_of_nothing_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    _tell_preview(Preview(), REQUEST)
    assert capsys.readouterr().out.startswith("would send 0 events of 0 keys to erp")
