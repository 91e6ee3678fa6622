"""Dead letters as text and JSON, whatever bytes they hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from letters_kit import letter
from trunkline import Rejected
from trunkline.admin.replays import totals
from trunkline.cli import output as shown
from trunkline.errors import SerializationError


def avro(value: bytes) -> Any:
    return {"id": 1, "at": datetime(2026, 1, 1, tzinfo=UTC), "sum": Decimal("1.50"), "raw": b"\xff"}


def unreadable(value: bytes) -> Any:
    raise SerializationError("not in the Confluent wire format")


def test_everything_of_a_letter_is_shown_the_traceback_last() -> None:
    text = shown.whole(letter(Rejected("no")), avro)
    assert text.startswith("f.erp.dlq 2/17, cause ")
    assert "\nkey: k1\n" in text
    assert "\ntl_dead_from: f.erp.inbox/2/9\n" in text
    assert '"sum": "1.50"' in text
    assert '"raw": "ff"' in text
    assert text.endswith("\ntrunkline.errors.Rejected: no")
    assert text.count("tl_traceback") == 0


def test_bytes_that_are_no_avro_are_shown_in_hex() -> None:
    assert "in hex: not in the Confluent wire format): 0001" in shown.whole(letter(), unreadable)


def test_a_record_of_a_source_is_shown_as_json() -> None:
    assert '"id": 7' in shown.whole(letter(value=b'{"id": 7}'), unreadable)
    assert "in hex: no JSON" in shown.whole(letter(value=b'{"id": '), unreadable)


def test_no_key_and_no_value_are_none() -> None:
    text = shown.whole(letter(key=None, value=None), unreadable)
    assert "\nkey: none\n" in text
    assert "\nvalue: none\n" in text
    told = shown.whole_as_json(letter(key=None, value=None), unreadable)
    assert (told["key"], told["raw_key"], told["raw_value"], told["value"]) == (None,) * 4


def test_json_has_the_bytes_too() -> None:
    told = json.loads(shown.dumped(shown.whole_as_json(letter(key=b"\xff"), unreadable)))
    assert (told["key"], told["raw_key"], told["raw_value"]) == ("0xff", "ff", "0001")
    assert (told["value"], told["unreadable"]) == (None, "not in the Confluent wire format")
    assert ["tl_from", "orders/2/7/1"] in told["headers"]


def test_a_number_beyond_64_bits_is_shown() -> None:
    assert shown.dumped({"n": 2**70}, indent=False) == '{"n": 1180591620717411303424}'


def test_what_is_handled_is_marked() -> None:
    assert "(handled)" in shown.whole(letter(handled=True), avro)
    assert "(handled)" in str(shown.row(letter(handled=True)))
    assert shown.as_json(letter(handled=True))["handled"] is True


@pytest.mark.parametrize("evil", ["\x1b[2J", "\r", "\x9b31m", "\u202e"])
def test_messages_of_others_move_no_cursor(evil: str, capsys: pytest.CaptureFixture[str]) -> None:
    bad = letter(f"no{evil}!", key=f"k{evil}".encode())
    shown.print_table(shown.ROW, [shown.row(bad)])
    assert evil not in capsys.readouterr().out
    assert evil not in shown.whole(bad, avro)


def test_markup_in_a_message_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    shown.print_table(["message"], [["[red]no[/red]"]])
    assert "[red]no[/red]" in capsys.readouterr().out


def test_counts_are_summed_over_partitions() -> None:
    state: dict[str, dict[str, Any]] = {
        "replay/7f": {"state": "running"},
        "replay/7f/orders/0": {"counts": {"sent": 3, "superseded": 1}},
        "replay/7f/orders/1": {"counts": {"sent": 4}},
        "replay/7f0/orders/0": {"counts": {"sent": 100}},
        "replay/7f/orders/2": {},
    }
    assert totals(state, "7f") == {"sent": 7, "superseded": 1}
