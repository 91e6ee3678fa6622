"""SqlSink with an owner: an order's lines are those of its newest event, on real databases."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sql_items import Database
from sql_wholes import WHOLE, Whole, batches_with_repeats, folded, part, random_inbox, whole
from trunkline import errors
from trunkline.connectors.contract import make_event

KITS = Path(__file__).parents[2] / "kits"


def rows(db: Database) -> list[tuple[Any, ...]]:
    column = "`order`" if db.kind == "mysql" else '"order"'
    return [(o, n, Decimal(p)) for o, n, p in db.rows(f"{column}, number, price")]


def numbers(db: Database) -> list[tuple[str, int]]:
    return [(order, number) for order, number, _ in rows(db)]


def test_lines_that_are_gone_are_removed(db: Database) -> None:
    first, other = whole("a", [1, 2, 3], 0), whole("b", [1, 2], 1)
    db.deliver([first, other], [whole("a", [3, 4], 2, amount=7)], type=Whole, **WHOLE)
    assert rows(db) == [
        ("a", 3, Decimal(7)),
        ("a", 4, Decimal(7)),
        ("b", 1, Decimal(1)),
        ("b", 2, Decimal(1)),
    ]


def test_an_empty_list_and_a_delete_remove_all(db: Database) -> None:
    wholes = [whole("a", [1, 2], 0), whole("b", [1], 1), whole("c", [1], 2)]
    db.deliver(
        wholes, [whole("a", [], 3), make_event("b", change="delete", offset=4)], type=Whole, **WHOLE
    )
    assert numbers(db) == [("c", 1)]


def test_a_late_repeat_brings_no_line_back(db: Database) -> None:
    late = [whole("a", [1, 2, 3], 0), whole("b", [1], 1)]
    newer = [whole("a", [2], 2), make_event("b", change="delete", offset=3)]
    db.deliver(late, newer, late, [late[1]], type=Whole, **WHOLE)
    assert numbers(db) == [("a", 2)]


def test_a_line_that_is_refused_leaves_its_order_as_it_was(db: Database) -> None:
    bad = whole("a", [1, 2], 2)
    bad.data["lines"][1]["price"] = None  # NOT NULL
    good = whole("b", [9], 3)
    with pytest.raises(errors.PartialFailure) as failure:
        db.deliver([whole("a", [5, 6], 0)], [bad, good], type=Whole, **WHOLE)
    assert list(failure.value.failures) == [0]
    assert numbers(db) == [("a", 5), ("a", 6), ("b", 9)]


def test_more_rows_than_a_statement_takes(db: Database) -> None:
    wholes = [whole("a", range(2500), 0), whole("b", range(1500), 1)]
    db.deliver(wholes, [whole("a", [7], 2), whole("b", [], 3)], type=Whole, **WHOLE)
    assert numbers(db) == [("a", 7)]


@pytest.mark.parametrize(
    ("key", "lines", "what"),
    [
        ("b", [part("a", 1)], "key is not the owner"),
        ("a", [part("b", 1)], "key is not the owner"),
        ("a", [part("a", 1), part("a", 1)], "two rows of lines have one key"),
        ("a", None, "lines is null"),
        ('["a","1"]', [part("a", 1)], "a value each for order"),
    ],
)
def test_a_whole_that_cannot_be_is_rejected(
    sqlite: Database, key: str, lines: Any, what: str
) -> None:
    event = make_event(key, Whole(order="a", status="new", lines=lines), offset=0)
    with pytest.raises(errors.Rejected, match=what):
        sqlite.deliver([event], type=Whole, **WHOLE)


def test_an_owner_that_ends_in_a_blank_is_no_other(mariadb: Database) -> None:
    """``a `` would find the rows of ``a``, also to delete them."""
    mariadb.deliver([whole("a", [1], 0)], type=Whole, **WHOLE)
    for event in (whole("a ", [], 1), make_event("a ", change="delete", offset=2)):
        with pytest.raises(errors.Rejected, match="blank"):
            mariadb.deliver([event], type=Whole, **WHOLE)
    assert numbers(mariadb) == [("a", 1)]


@pytest.mark.parametrize("seed", range(3))
def test_any_repeats_end_on_the_newest_wholes(db: Database, seed: int) -> None:
    dice = random.Random(seed)
    inbox = random_inbox(dice, 120)
    db.deliver(*batches_with_repeats(dice, inbox), type=Whole, **WHOLE)
    assert rows(db) == folded(inbox)


def test_writers_of_one_owner_wait_for_each_other(db: Database) -> None:
    """A worker that lost its partition may still be writing while its successor does."""
    if db.kind == "sqlite":
        pytest.skip("one writer at a time")
    late = [whole(f"k{n}", [1, 2, 3], n) for n in range(40)]
    newer = [whole(f"k{n}", [3, 4], 100 + n) for n in range(40)]

    async def run() -> None:
        old, new = db.sink(Whole, **WHOLE), db.sink(Whole, **WHOLE)
        await old.open()
        await new.open()
        for start in range(0, 40, 5):
            part = slice(start, start + 5)
            await asyncio.gather(old.deliver(late[part]), new.deliver(newer[part]))
        await old.close()
        await new.close()

    asyncio.run(run())
    assert rows(db) == folded([*late, *newer])


def test_killed_at_any_time_the_table_has_whole_orders(db: Database) -> None:
    """A process that writes is killed; its successor begins with an event that was delivered."""
    inbox = random_inbox(random.Random(7), 400)
    db.deliver(type=Whole, **WHOLE)
    for batches in (1, 4, 9):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, db.url, db.table],
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(KITS)},
        )
        assert process.stdout is not None
        for _ in range(batches):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        found = rows(db)
        for owner in {event.key for event in inbox}:
            states = [folded(inbox[:n]) for n in range(len(inbox) + 1)]
            mine = [row for row in found if row[0] == owner]
            assert mine in [[row for row in state if row[0] == owner] for state in states]
    db.deliver(inbox[10:], type=Whole, **WHOLE)
    assert rows(db) == folded(inbox)


WRITER = """
import asyncio, random, sys
from sql_wholes import WHOLE, Whole, random_inbox
from trunkline.connectors.sql import SqlSink

async def run(url, table):
    sink = SqlSink(url, Whole, table=table, **WHOLE)
    await sink.open()
    inbox = random_inbox(random.Random(7), 400)
    for at in range(0, 400, 10):
        await sink.deliver(inbox[at:at + 10])
        print(at, flush=True)

asyncio.run(run(*sys.argv[1:]))
"""
