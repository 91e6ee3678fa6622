"""What workers say of a destination decides whether a caller who waits is let in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from trunkline.gateway.availability import RETRY, Availability
from trunkline.gateway.catalog import Offered
from trunkline.gateway.problems import Problem
from trunkline.schemas.commerce import Order
from trunkline.schemas.plain.read import PlainReader
from trunkline.schemas.types import schema_of
from trunkline.streams.flow.operation import OperationPolicy
from trunkline.times import iso

NOW = 1_800_000_000.0
SCHEMA = schema_of(Order)
OFFERED = Offered(
    *("erp", "correct", "a.b", "a.b.desk.inbox", "a.b.desk.calls"),
    policy=OperationPolicy("update", "orders", "id"),
    schema=SCHEMA,
    reader=PlainReader(SCHEMA.parsed),
    encode=lambda value: b"",
    described="It.",
)


def said(
    state: str, until: float | None = None, at: float = NOW, oldest: float | None = None
) -> bytes:
    told = {"state": state, "at": iso(at), "until": until and iso(until), "oldest": oldest}
    return orjson.dumps(told)


def after(*records: tuple[str, bytes | None], topic: str = "a.b.control") -> Any:
    known = Availability(lambda: NOW)
    for key, value in records:
        known.heard(topic, key.encode(), value)
    return known.closed(OFFERED)


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        (said("open", NOW + 7), 7),
        (said("maintenance", NOW + 600), 600),
        (said("paused"), RETRY),
        (said("cannot-open"), RETRY),
        (said("open", NOW - 1), None),
        (said("open"), None),
        (said("half-open"), None),
        (said("slow-start"), None),
        (said("paused", at=NOW - 46), None),
        (b"no JSON", None),
        (None, None),
    ],
)
def test_a_state_closes_or_it_does_not(value: bytes | None, wait: float | None) -> None:
    found = after(("status/desk/w1", value))
    assert (found and found.after) == wait


def test_one_workers_word_is_enough_and_its_end_ends_it() -> None:
    down = ("status/desk/w1", said("open", NOW + 7))
    assert after(down, ("status/desk/w2", None)) is not None
    assert after(down, ("status/desk/w1", None)) is None
    assert after(("status/other/w1", said("paused")), ("override/desk", b"{}")) is None
    assert after(down, topic="b.control") is None


def test_a_caller_is_told_when_to_come_again() -> None:
    known = Availability(lambda: NOW)
    known.require(OFFERED)
    known.heard("a.b.control", b"status/desk/w1", said("open", NOW + 6.2))
    with pytest.raises(Problem) as raised:
        known.require(OFFERED)
    assert (raised.value.status, raised.value.headers) == (503, {"Retry-After": "7"})


def test_a_backlog_that_is_too_old_takes_no_new_calls() -> None:
    """Whatever else the worker says, and as long as it says so; of an operation that sets a
    limit."""
    limited = replace(OFFERED, policy=OperationPolicy("update", "orders", "id", max_backlog=300.0))
    known = Availability(lambda: NOW)
    known.require_capacity(limited)
    for state in ("behind", "halted"):
        known.heard("a.b.control", b"status/desk/w1", said(state, oldest=301))
        with pytest.raises(Problem) as raised:
            known.require_capacity(limited)
        assert (raised.value.kind, raised.value.status) == ("temporary-reduced-capacity", 503)
        assert raised.value.headers == {"Retry-After": str(RETRY)}
        known.require_capacity(OFFERED)
    for record in (
        said("behind", oldest=299),
        said("behind", oldest=301, at=NOW - 46),
        said("behind"),
        None,
    ):
        known.heard("a.b.control", b"status/desk/w1", record)
        known.require_capacity(limited)
