"""``trunkline destination`` as a person calls it, as far as no Kafka is needed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from trunkline.admin.destinations import overview
from trunkline.admin.status import worker_statuses
from trunkline.admin.targets import Target
from trunkline.cli import app, destination
from trunkline.cli.destination import _tell_halted, command_in_words, pause_end
from trunkline.errors import ConfigurationError
from trunkline.streams.admission.manual import OverrideRecord
from trunkline.streams.control.records import ROUTING

NOON = datetime(2030, 5, 31, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("text", ["", "orders", "orders.", ".warehouse"])
def test_another_text_is_refused(text: str) -> None:
    result = CliRunner().invoke(app, ["destination", "status", text])
    assert isinstance(result.exception, ConfigurationError)
    assert "write FLOW.DESTINATION, as orders.warehouse" in str(result.exception)


@pytest.mark.parametrize(
    ("duration", "until", "end"),
    [
        ("", "", None),
        ("2h", "", "2030-05-31T14:00:00.000+00:00"),
        ("", "2030-05-31T16:00Z", "2030-05-31T16:00:00.000+00:00"),
        ("", "2030-05-31T16:00+02:00", "2030-05-31T14:00:00.000+00:00"),
    ],
)
def test_a_pause_can_have_an_end(duration: str, until: str, end: str | None) -> None:
    found = pause_end(duration, until, NOON)
    assert (found and found.isoformat(timespec="milliseconds")) == end


def test_a_time_without_a_zone_is_local() -> None:
    end = pause_end("", "2030-05-31T16:00", NOON - 86_400)
    assert end == datetime(2030, 5, 31, 16).astimezone()


@pytest.mark.parametrize(
    ("duration", "until", "message"),
    [
        ("2h", "2030-05-31T16:00Z", "give one"),
        ("soon", "", "not a duration"),
        ("2030-05-31T16:00Z", "", "not a duration"),
        ("99999999d", "", "after the year 9999"),
        ("", "soon", "is no time"),
    ],
)
def test_an_end_that_makes_no_sense_is_refused(duration: str, until: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        pause_end(duration, until, NOON)


def test_halted_keys_are_told_with_what_lets_them_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime.fromtimestamp(NOON, UTC).isoformat()
    halted = [{"key": f"k{n}", "id": "7", "place": "f.erp.inbox/0/3", "times": 2} for n in range(5)]
    state = {
        "status/erp/a-1": {"state": "halted", "at": at, "halted_keys": 9, "halted": halted},
        "status/erp/b-2": {"state": "open", "at": at, "halted_keys": "many"},
    }
    workers = worker_statuses(state, "erp", NOON)
    _tell_halted(Target.parse("f.erp"), workers)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines[:5]] == ["k0", "k1", "k2", "k3", "k4"]
    assert lines[5:] == [
        "halted: 4 more",
        "a halted key goes on after trunkline dlq redrive, or discard, f.erp",
    ]
    _tell_halted(Target.parse("f.erp"), [])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("members", "shown"), [(1, ["live"]), (0, ["dead", "live"])])
def test_what_a_killed_worker_told_is_over_where_others_run(
    members: int, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those have its partitions now. Its records stay for hours, and hold nothing up."""

    def told(name: str, at: float) -> dict[str, object]:
        events = [{"key": name, "id": "7", "place": "f.erp.inbox/0/3", "since": "2030"}]
        more = {"held": events, "halted": events, "halted_keys": 1, "why": name}
        return {"state": "holding", "at": datetime.fromtimestamp(at, UTC).isoformat(), **more}

    workers = {"dead-1": told("dead", NOON - 600), "live-2": told("live", NOON)}
    state = {f"status/{of}/{w}": v for of in ("erp", ROUTING) for w, v in workers.items()}
    found = overview(Target.parse("f.erp"), state, members, NOON)
    monkeypatch.setattr(destination, "destination_status", lambda *_: found)
    lines = CliRunner().invoke(app, ["destination", "status", "f.erp"]).output.splitlines()
    assert sum("dead-1" in line for line in lines) == 1, "the table has it, as stale"
    begins = {"why: ": "why: {}", "held: ": "key {} ", "halted: key": "key {} "}
    for begin, one in begins.items():
        of_kind = [line for line in lines if line.startswith(begin)]
        assert [name for name in shown if any(one.format(name) in x for x in of_kind)] == shown
        assert len(of_kind) == len(shown)
    (routed,) = (line for line in lines if line.startswith("not routed: "))
    assert "key live " in routed


def test_a_command_is_told_in_words() -> None:
    def told(state: str, until: str | None = None, why: str = "") -> str:
        return command_in_words(
            OverrideRecord(state, until, "anna@desk", why, "2030-05-31T11:00Z"), NOON
        )  # type: ignore[arg-type]

    by = "by anna@desk at 2030-05-31T11:00Z"
    assert told("paused", why="upgrade") == f"paused, {by}: upgrade"
    assert told("paused", "2030-05-31T13:00Z") == f"paused until 2030-05-31T13:00Z, {by}"
    assert told("paused", "2030-05-31T12:00Z") == f"auto (was paused until 2030-05-31T12:00Z), {by}"
    assert told("forced") == f"forced, {by}"
    assert told("auto") == f"auto, {by}"
    assert command_in_words(OverrideRecord(), NOON) == "auto (nothing is commanded)"
