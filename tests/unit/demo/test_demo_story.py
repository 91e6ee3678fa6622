"""What the demo plays: real flights, every change of them once, in order."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from itertools import islice

import pytest

from trunkline.demo import expect
from trunkline.demo.airport import transactions
from trunkline.demo.history import History
from trunkline.demo.play import script
from trunkline.demo.records import Flight, flights, sights
from trunkline.demo.timeline import Change, changes, notices

COUNT = 3000


@pytest.fixture(scope="module")
def records() -> list[Flight]:
    return list(flights(COUNT))


@pytest.fixture(scope="module")
def story(records: list[Flight]) -> list[Change]:
    return changes(records)


def test_a_record_is_read_as_it_was(records: list[Flight]) -> None:
    assert records[0] == Flight(
        id="2013-01-01-UA-1545-EWR",
        carrier="UA",
        flight=1545,
        tailnum="N14228",
        origin="EWR",
        dest="IAH",  # Houston, an hour behind New York: 08:19 there
        sched_dep=datetime(2013, 1, 1, 10, 15, tzinfo=UTC),
        sched_arr=datetime(2013, 1, 1, 14, 19, tzinfo=UTC),
        dep_delay=2,
        arr_delay=11,
        state="A",
        distance=1400,
        air_time=227,
    )
    assert len({record.id for record in records}) == COUNT


def test_reading_loads_no_pandas() -> None:
    program = "import sys; from trunkline.demo.records import flights; print(len([*flights(5)]))"
    program += "; assert 'pandas' not in sys.modules"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("5\n", "")


def test_every_flight_ends_as_it_ended_unless_it_is_withdrawn(
    records: list[Flight], story: list[Change]
) -> None:
    last = {change.id: change.row for change in story}
    gone = [id for id, row in last.items() if row is None]
    assert 0 < len(gone) < COUNT / 100
    assert all(last[record.id] in (record, None) for record in records)


def test_changes_come_in_order_and_no_two_of_a_flight_are_equal(story: list[Change]) -> None:
    moments = [change.moment for change in story]
    assert moments == sorted(moments)
    lives = defaultdict(list)
    for change in story:
        lives[change.id].append(change.row and change.row._replace(distance=0))
    assert all(len(set(rows)) == len(rows) for rows in lives.values())
    assert any(None in rows[:-1] for rows in lives.values()), "some come back"
    states = {"".join(row.state if row else "-" for row in rows) for rows in lives.values()}
    assert {"SDA", "SX", "SD", "S-"} <= states


def test_notices_differ_and_belong_to_hours_with_changes(story: list[Change]) -> None:
    sent = notices(sights(), story)
    assert len(sent) > 100
    assert len({(notice.id, notice.text) for notice in sent}) == len(sent)
    assert story[0].moment.replace(minute=0) <= sent[0].moment <= sent[-1].moment


def test_a_script_has_every_change_once() -> None:
    whole = script(COUNT, rate=50)
    assert len(whole.steady) == 1000
    live = [*whole.steady, *whole.rush]
    assert live == changes(flights(COUNT))[-len(live) :]
    assert len(whole.rows) > COUNT / 4


def test_a_transaction_has_a_flight_once(story: list[Change]) -> None:
    groups = list(transactions(story, 50))
    assert [change for group in groups for change in group] == story
    for group in groups:
        assert len({change.id for change in group}) == len(group) <= 50


def test_what_is_due_follows_from_what_was_done(records: list[Flight]) -> None:
    late = next(row for row in records if (row.dep_delay or 0) > 60 and row.state == "A")
    dropped = next(row for row in records if row.state == "X")
    (notice,) = islice(notices(sights(), changes([late])), 1)
    planned = late._replace(dep_delay=None, arr_delay=None, air_time=None, state="S")
    history = History()
    history.began([planned])
    history.committed([Change(late.sched_dep, late.id, late)], 5.0)
    history.committed([Change(late.sched_dep, dropped.id, dropped)], 6.0)
    history.committed([Change(late.sched_dep, late.id, None)], 7.0)
    history.sent(notice, 8.0)
    (alert,) = expect.alerts(history)[late.id]
    assert alert.since == 5.0
    assert dict(alert.content)["delay_minutes"] == max(late.dep_delay or 0, late.arr_delay or 0)  # type: ignore[call-overload]
    assert {id: [e.since for e in due] for id, due in expect.entries(history).items()} == {
        dropped.id: [6.0],
        notice.id: [8.0],
    }
    assert [e.since for e in expect.rows(history)[late.id]] == [None, 5.0, 7.0]
    assert expect.rows(history)[late.id][-1].content == expect.DELETED
    assert history.changes == 4
