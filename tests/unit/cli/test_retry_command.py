"""``trunkline retry`` as a person calls it, as far as no Kafka is needed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from trunkline.admin import waiting
from trunkline.admin.waiting import WaitingEvent, freed
from trunkline.cli import app, retry
from trunkline.errors import ConfigurationError
from trunkline.streams.control.records import RetryKey
from trunkline.streams.retry.decisions import MAX_EVENTS

DUE = datetime(2030, 5, 31, 12, tzinfo=UTC)
FIRST = WaitingEvent(
    "C-17", "e1", "order.paid", 2, DUE, "Retryable", "busy", False, 3, 40, "f.erp.retry.10m", 7
)
BEHIND = replace(FIRST, id="e2", attempts=0, sequence=41, offset=8, error="", message="")
OTHER = replace(FIRST, id="e3", key="D-1", sequence=50, partition=0, offset=2)
HALTED = replace(FIRST, id="e4", key="H-1", sequence=60, halted=True)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What waits is known; what is written is kept here."""
    found: list[Any] = []

    def listed(backbone: Any, target: Any, *, key: str | None = None, id: str | None = None) -> Any:
        every = [FIRST, BEHIND, OTHER, HALTED]
        return [o for o in every if key in (None, o.key) and id in (None, o.id)]

    for module in (retry, waiting):
        monkeypatch.setattr(module, "list_waiting", listed)
    monkeypatch.setattr(retry, "backbone_of", lambda env: None)
    monkeypatch.setattr(waiting, "put_audited", lambda *given: found.append(given[1:]))
    return found


def ran(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["retry", *arguments])
    if isinstance(result.exception, ConfigurationError):
        raise result.exception
    return result.output


def decided(changes: Any) -> dict[str, list[str]]:
    """The sequence numbers that were decided about, by action."""
    found: dict[str, list[str]] = {}
    for key, value in changes.items():
        assert RetryKey.parse(key) is not None
        found.setdefault(value["action"], []).extend(str(s) for s, _ in value["events"])
    return found


def test_what_waits_is_a_table_or_json(written: list[Any]) -> None:
    table = ran("list", "f.erp")
    assert "3/40" in table
    assert "0 (behind)" in table
    assert "halted" in table
    first = json.loads(ran("list", "f.erp", "--json", "--key", "C-17").splitlines()[0])
    assert (first["id"], first["tier"], first["attempts"]) == ("e1", "10m", 2)
    assert written == []


@pytest.mark.parametrize("chosen", [[], ["--all", "--key", "a"], ["--key", "a", "--id", "b"]])
@pytest.mark.parametrize("command", ["now", "discard"])
def test_one_must_say_which(written: list[Any], command: str, chosen: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="give --key, --id or --all"):
        ran(command, "f.erp", *chosen)


def test_now_is_about_the_whole_key_and_no_halted_one(written: list[Any]) -> None:
    assert "2 events will be attempted now" in ran("now", "f.erp", "--id", "e2", "--why", "mended")
    ((flow, changes, audit),) = written
    assert (flow, decided(changes)) == ("f", {"now": ["40", "41"]})
    assert (audit.what, audit.on, audit.why, audit.count) == ("retry", "erp", "mended", 2)
    ran("now", "f.erp", "--all")
    assert decided(written[1][1]) == {"now": ["40", "41", "50"]}


def test_a_discard_frees_what_is_behind(written: list[Any]) -> None:
    assert "1 event will be discarded" in ran("discard", "f.erp", "--id", "e1", "--yes")
    assert decided(written[0][1]) == {"discard": ["40"], "now": ["41"]}
    assert written[0][2].what == "retry-discard"


def test_a_discard_asks(written: list[Any]) -> None:
    result = CliRunner().invoke(app, ["retry", "discard", "f.erp", "--all"], input="n\n")
    assert "discard 3 events of f.erp?" in result.output
    assert (result.exit_code, written) == (1, [])


@pytest.mark.parametrize("command", [["now", "f.erp"], ["discard", "f.erp", "--yes"]])
def test_where_nothing_waits_nothing_is_written(written: list[Any], command: list[str]) -> None:
    assert "nothing of that waits" in ran(*command, "--id", "e4")
    assert written == []


def test_a_decision_about_many_is_several_records() -> None:
    many = [replace(FIRST, sequence=n, offset=n) for n in range(2 * MAX_EVENTS + 1)]
    audit = waiting.AuditRecord(what="retry", on="erp")
    records = dict(waiting.decision_records("erp", "now", many, audit))
    assert [len(one["events"]) for one in records.values()] == [MAX_EVENTS, MAX_EVENTS, 1]


def test_only_what_nothing_else_holds_up_is_freed() -> None:
    own = replace(BEHIND, attempts=1)
    assert freed([FIRST], [FIRST, BEHIND]) == [BEHIND]
    assert freed([BEHIND], [FIRST, BEHIND]) == []
    assert freed([FIRST], [FIRST, own]) == []
