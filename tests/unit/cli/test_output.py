"""What commands print: dead letters whatever bytes they hold, workers, audits, counts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from letters_kit import letter
from trunkline import Rejected
from trunkline.admin.dead_letters import decoded
from trunkline.admin.status import HeldEvent, WorkerStatus
from trunkline.cli import output as shown
from trunkline.errors import SerializationError
from trunkline.schemas.codec import Decode
from trunkline.streams.control.audit import AuditRecord
from trunkline.streams.dlq.letters import DeadLetter


def avro(value: bytes) -> Any:
    return {"id": 1, "at": datetime(2026, 1, 1, tzinfo=UTC), "sum": Decimal("1.50"), "raw": b"\xff"}


def unreadable(value: bytes) -> Any:
    raise SerializationError("not in the Confluent wire format")


def whole(letter: DeadLetter, decode: Decode) -> str:
    return shown.whole(letter, decoded(letter, decode))


def whole_as_json(letter: DeadLetter, decode: Decode) -> dict[str, Any]:
    return shown.whole_as_json(letter, decoded(letter, decode))


def test_everything_of_a_letter_is_shown_the_traceback_last() -> None:
    text = whole(letter(Rejected("no")), avro)
    assert text.startswith("f.erp.dlq 2/17, cause ")
    assert "\nkey: k1\n" in text
    assert "\ntl_dead_from: f.erp.inbox/2/9\n" in text
    assert '"sum": "1.50"' in text
    assert '"raw": "ff"' in text
    assert text.endswith("\ntrunkline.errors.Rejected: no")
    assert text.count("tl_traceback") == 0


def test_bytes_that_are_no_avro_are_shown_in_hex() -> None:
    assert "in hex: not in the Confluent wire format): 0001" in whole(letter(), unreadable)


def test_a_record_of_a_source_is_shown_as_json() -> None:
    assert '"id": 7' in whole(letter(value=b'{"id": 7}'), unreadable)
    assert "in hex: no JSON" in whole(letter(value=b'{"id": '), unreadable)


def test_no_key_and_no_value_are_none() -> None:
    text = whole(letter(key=None, value=None), unreadable)
    assert "\nkey: none\n" in text
    assert "\nvalue: none\n" in text
    told = whole_as_json(letter(key=None, value=None), unreadable)
    assert (told["key"], told["raw_key"], told["raw_value"], told["value"]) == (None,) * 4


def test_json_has_the_bytes_too() -> None:
    told = json.loads(shown.dumped(whole_as_json(letter(key=b"\xff"), unreadable)))
    assert (told["key"], told["raw_key"], told["raw_value"]) == ("0xff", "ff", "0001")
    assert (told["value"], told["unreadable"]) == (None, "not in the Confluent wire format")
    assert ["tl_from", "orders/2/7/1"] in told["headers"]


def test_a_number_beyond_64_bits_is_shown() -> None:
    assert shown.dumped({"n": 2**70}, indent=False) == '{"n": 1180591620717411303424}'


def test_what_is_handled_is_marked() -> None:
    assert "(handled)" in whole(letter(handled=True), avro)
    assert "(handled)" in str(shown.letter_row(letter(handled=True)))
    assert shown.letter_as_json(letter(handled=True))["handled"] is True


@pytest.mark.parametrize("evil", ["\x1b[2J", "\r", "\x9b31m", "\u202e"])
def test_messages_of_others_move_no_cursor(evil: str, capsys: pytest.CaptureFixture[str]) -> None:
    bad = letter(f"no{evil}!", key=f"k{evil}".encode())
    shown.print_table(shown.LETTER_HEADINGS, [shown.letter_row(bad)])
    assert evil not in capsys.readouterr().out
    assert evil not in whole(bad, avro)


def test_markup_in_a_message_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    shown.print_table(["message"], [["[red]no[/red]"]])
    assert "[red]no[/red]" in capsys.readouterr().out


def test_a_worker_is_told_in_a_line() -> None:
    since, until = "2026-11-22T14:30:00.123+00:00", "2026-11-22T15:30:00.123+00:00"
    told = WorkerStatus("w1", "open", since, until, 7, None, "", 12.4, False)
    assert shown.worker_row(told) == (
        "w1",
        "open",
        "2026-11-22T14:30:00",
        "2026-11-22T15:30:00",
        7,
        "",
        "12 s ago",
    )
    stale = replace(told, stale=True, since=None, until=None, lag=None)
    assert shown.worker_row(stale)[1:5] == ("stale (was open)", "", "", "")


def test_a_held_event_is_told_in_words_without_moving_the_cursor() -> None:
    record = {"key": "k\x1b[2J", "id": "7", "place": "f.erp.inbox/0/3", "times": 12, "error": "502"}
    told = shown.held_in_words(HeldEvent.of({**record, "since": "2026-11-22T14:30:00.123+00:00"}))
    assert told == (
        r"the event 7 of key k\x1b[2J (f.erp.inbox/0/3) found it unavailable 12 times "
        "since 2026-11-22T14:30:00: 502"
    )
    assert HeldEvent.of({}) == HeldEvent("", "", "", "", 0, "")


def test_a_halted_key_is_told_in_words_without_moving_the_cursor() -> None:
    record = {"key": "k\x1b[2J", "id": "7", "place": "f.erp.inbox/0/3", "times": 1, "error": "422"}
    told = shown.halted_in_words(HeldEvent.of({**record, "since": "2026-11-22T14:30:00.123+00:00"}))
    assert told == (
        r"key k\x1b[2J waits behind the event 7 (f.erp.inbox/0/3), which failed once, first "
        "at 2026-11-22T14:30:00: 422"
    )


def test_an_audit_is_told_in_a_line() -> None:
    deed = AuditRecord(
        what="redrive", on="erp", why="back", who="ada@desk", at="2026-11-22T14:30:00.123Z"
    )
    assert shown.audit_row(deed) == (
        "2026-11-22T14:30:00",
        "ada@desk",
        "redrive",
        "erp",
        "",
        "back",
    )
    assert shown.audit_row(replace(deed, count=0))[4] == 0


def test_counts_are_told_in_words() -> None:
    assert shown.counts_in_words({"sent": 412, "superseded": 3}) == "412 sent, 3 superseded"
    assert shown.counts_in_words({}) == "nothing yet"
