"""What stands in the topic of the limits: what is written reads back, what strangers write is
refused and stops nobody."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limits_world import KEY, World
from trunkline.kafka.messages import StoredMessage
from trunkline.params import Backbone
from trunkline.streams.quota.client import QuotaClient
from trunkline.streams.quota.fair_share import Share
from trunkline.streams.quota.records import (
    BEFORE_ALL,
    MAX_COUNT,
    MAX_TEXT,
    Candidacy,
    ClientDemand,
    ClientId,
    Demand,
    Grant,
    GrantId,
    Grants,
    Left,
    QuotaRecord,
    record_of,
)

COUNTS = st.integers(0, MAX_COUNT)
AMOUNTS = st.floats(0, 1e300)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
SHARES = st.builds(Share, st.none() | AMOUNTS, st.none() | COUNTS)
CLIENTS = st.builds(ClientDemand, NAMES, NAMES, SHARES, SHARES, SHARES, AMOUNTS)
APPLIED = st.just(BEFORE_ALL) | st.builds(GrantId, COUNTS, COUNTS)
GRANT = st.builds(Grant, st.builds(ClientId, NAMES, NAMES), NAMES, COUNTS, SHARES, AMOUNTS)
RECORDS = st.one_of(
    st.builds(Demand, NAMES, COUNTS, APPLIED, st.dictionaries(NAMES, CLIENTS, max_size=3)),
    st.builds(
        Grants,
        st.builds(GrantId, COUNTS, COUNTS),
        st.lists(GRANT, max_size=3).map(tuple),
        st.lists(st.tuples(st.builds(ClientId, NAMES, NAMES), NAMES), max_size=3).map(tuple),
    ),
    st.builds(Candidacy, NAMES),
    st.builds(Left, NAMES),
)


@given(RECORDS)
def test_what_is_written_reads_back(record: QuotaRecord) -> None:
    assert record_of(orjson.dumps(record.to_json())) == record


def demand(**changes: Any) -> dict[str, Any]:
    """A demand as it stands in the topic, some of its client's fields changed."""
    share = Share(10.0, 2)
    said = ClientDemand(KEY, "orders.erp", share, share, share, 3.0)
    value = Demand("w9", 1, BEFORE_ALL, {"0": said}).to_json()
    value["demand"]["clients"]["0"] |= changes
    return value


def grants(**changes: Any) -> dict[str, Any]:
    """A record with one grant, some of its fields changed."""
    granted = Grant(ClientId("w0", "0"), KEY, 1, Share(10.0, 2))
    value = Grants(GrantId(0, 0), [granted]).to_json()
    value["grants"]["grants"][0] |= changes
    return value


def of(kind: str, value: Any) -> bytes:
    return orjson.dumps({kind: value})


GARBAGE = {
    "nothing": b"",
    "no JSON": b"\x00\x00\x00\x00\x01a",
    "not UTF-8": b'{"claim":{"member":"\xff"}}',
    "deep": b"[" * 100_000,
    "a list": b"[1, 2]",
    "text": b'"claim"',
    "no kind": b"{}",
    "another kind": b'{"reign": {"member": "a"}}',
    "two kinds": b'{"claim": {"member": "a"}, "left": {"member": "b"}}',
    "claim of nobody": of("claim", {}),
    "claim of null": of("claim", None),
    "claim of a number": of("claim", {"member": 7}),
    "claim of an empty name": of("claim", {"member": ""}),
    "claim of a huge name": of("claim", {"member": "a" * (MAX_TEXT + 1)}),
    "left as a list": of("left", ["a"]),
    "demand without clients": of("demand", {"member": "a", "request": 1, "applied": [-1, -1]}),
    "demand with a list of clients": of(
        "demand", {"member": "a", "request": 1, "applied": [-1, -1], "clients": []}
    ),
    "demand that has applied text": of(
        "demand", {"member": "a", "request": 1, "applied": ["a", "b"], "clients": {}}
    ),
    "demand that has applied three": of(
        "demand", {"member": "a", "request": 1, "applied": [1, 2, 3], "clients": {}}
    ),
    "request true": of(
        "demand", {"member": "a", "request": True, "applied": [-1, -1], "clients": {}}
    ),
    "client without a limit": orjson.dumps(demand(limit=None)),
    "whole as text": orjson.dumps(demand(whole="10/s")),
    "a share of three": orjson.dumps(demand(whole=[1.0, 2, 3])),
    "a rate of text": orjson.dumps(demand(wants=["10", None])),
    "a negative rate": orjson.dumps(demand(holds=[-1.0, None])),
    "half a call": orjson.dumps(demand(holds=[None, 0.5])),
    "negative calls": orjson.dumps(demand(holds=[None, -3])),
    "true calls": orjson.dumps(demand(wants=[None, True])),
    "endless grace": orjson.dumps(demand()).replace(b'"grace":3.0', b'"grace":1e999'),
    "no number": orjson.dumps(demand()).replace(b'"grace":3.0', b'"grace":NaN'),
    "grants for nobody": orjson.dumps(grants(member=None)),
    "a grant without a share": orjson.dumps(grants(share=None)),
    "a negative credit": orjson.dumps(grants(credit=-1)),
    "grants without a term": of("grants", {"number": 0, "grants": []}),
    "a term beyond all logs": of("grants", {"term": 2**60, "number": 0, "grants": []}),
    "grants as an object": of("grants", {"term": 0, "number": 0, "grants": {}}),
}


@pytest.mark.parametrize("value", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_is_no_record_is_refused_with_a_reason(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        record_of(value)


@pytest.mark.parametrize("value", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_refused_record_stops_no_reader(value: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The records around it are read, and the log says once where it stands."""
    client = QuotaClient(Backbone())
    messages = [b'{"claim":{"member":"a"}}', value, value, b'{"left":{"member":"a"}}']
    with caplog.at_level(logging.WARNING):
        read = [
            record
            for offset, value in enumerate(messages)
            for record in client._parsed(StoredMessage("trunkline.limits", 0, offset, None, value))
        ]
    assert read == [Candidacy("a"), Left("a")]
    (warning,) = caplog.records
    assert "trunkline.limits at 1" in warning.getMessage()


OWN = Grant(ClientId("w0", "0"), KEY, 1, Share(9.0, 2))
HOSTILE = {
    "a grant to a gate that is not there": grants(client="7"),
    "a grant of another limit": grants(limit="system/other"),
    "a request that was never made": grants(request=4711),
    "a member that nobody knows": grants(member="w77"),
    "a term of the future": Grants(GrantId(10**12, 0), [OWN]).to_json(),
    "a demand of a stranger": demand(),
}


@pytest.mark.parametrize("record", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_record_that_fits_nothing_stops_no_worker(record: dict[str, Any]) -> None:
    shared = World(Share(50.0, 4))
    for _ in range(2):
        shared.join().demand = True
    shared.run(4.0)
    shared.log.append(orjson.dumps(record))
    shared.run(10.0)  # longer than a lease: what the stranger claims to use is free again
    rates = [worker.gate.share(shared.clock(worker)).rate or 0.0 for worker in shared.workers]
    assert rates == pytest.approx([25.0, 25.0], rel=0.12)


def test_a_gate_uses_nothing_of_a_grant_that_answers_no_demand_of_it() -> None:
    shared = World(Share(50.0, 4))
    worker = shared.join()
    shared.log.append(of("claim", {"member": "stranger"}))
    shared.log.append(orjson.dumps(grants(request=1)))
    shared.read(worker)
    assert not worker.gate.share(shared.clock(worker)).rate


def test_the_client_stops_that_was_never_started() -> None:
    asyncio.run(_stopped())


async def _stopped() -> None:
    client = QuotaClient(Backbone())
    await client.stop()
    assert client.failure is None
