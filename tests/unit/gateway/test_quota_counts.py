"""Limits per minute and day, counted from the journal that each gateway reads a moment later; and
what answers say of limits."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from random import Random

import http_sf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quota_kit import SharedLog, memory_limits, virtual_time
from trunkline.access.policy import Client
from trunkline.access.quota import Quota, Quotas, parsed_quota
from trunkline.gateway.problems import Problem
from trunkline.gateway.quota.counts import DAY, MINUTE, SETTLED, JournalCounts, Window
from trunkline.gateway.quota.standing import LEFT, POLICY, Standing, headers_of, shown
from trunkline.streams.journal.record import CallRecord


def record(call: str, at: float, client: str = "crm") -> CallRecord:
    return CallRecord(
        call=call,
        state="accepted",
        operation="correct",
        client=client,
        key="k",
        fingerprint="f",
        accepted_at=at,
        expires_at=at + 60,
        at=at,
    )


class Gateways:
    """Several that read what each has written within a second. ``granted``: by window."""

    def __init__(self, number: int, limit: int, window: Window, dice: Random) -> None:
        self.now = 1_000_000_019.0
        self.limit, self.window, self.dice = limit, window, dice
        self.counts = [JournalCounts(lambda: self.now, lambda *_: 1) for _ in range(number)]
        self.coming: list[tuple[float, int, str, float]] = []
        self.granted: Counter[int] = Counter()
        self.refused = 0

    def call(self, number: int, lag: float) -> None:
        """One wants to let in a call."""
        counts = self.counts[number]
        standing = counts.standing("crm", self.window, self.limit, number, len(self.counts))
        left = self.limit - self.granted[self.window.number(self.now)]
        assert 0 <= standing.left <= max(0, left)
        if not standing.left:
            self.refused += 1
            return
        id_ = f"call-{sum(self.granted.values())}"
        counts.let_in("crm", id_, 1)
        self.granted[self.window.number(self.now)] += 1
        for reader in range(len(self.counts)):
            heapq.heappush(
                self.coming, (self.now + lag * self.dice.random(), reader, id_, self.now)
            )

    def pass_time(self, seconds: float) -> None:
        """Time passes; what has arrived is read."""
        self.now += seconds
        while self.coming and self.coming[0][0] <= self.now:
            _, reader, id_, at = heapq.heappop(self.coming)
            self.counts[reader].read("calls", record(id_, at))


@settings(max_examples=60)
@given(
    limit=st.sampled_from([1, 2, 3, 10, 101]),
    number=st.sampled_from([1, 2, 2, 2]),
    lag=st.sampled_from([0.0, 0.02, SETTLED / 2]),
    pause=st.sampled_from([0.001, 0.05, 0.5]),
    seed=st.integers(0, 10**9),
)
def test_all_gateways_together_let_in_no_more_than_the_limit(
    limit: int, number: int, lag: float, pause: float, seed: int
) -> None:
    dice = Random(seed)
    gateways = Gateways(number, limit, MINUTE, dice)
    for _ in range(1000):
        gateways.call(dice.randrange(number), lag)
        gateways.pass_time(dice.expovariate(1 / pause))
    assert max(gateways.granted.values()) <= limit


@pytest.mark.parametrize("number", [1, 2, 3])
def test_all_of_a_limit_is_let_in(number: int) -> None:
    gateways = Gateways(number, 100, DAY, Random(1))
    for turn in range(8 * 60 * 10):
        gateways.call(turn % number, 0.05)
        gateways.pass_time(0.1)
    assert sum(gateways.granted.values()) == 100


def test_one_gateway_alone_lets_in_all_of_it_at_once() -> None:
    gateways = Gateways(1, 100, DAY, Random(1))
    for _ in range(101):
        gateways.call(0, 0.5)
    assert (sum(gateways.granted.values()), gateways.refused) == (100, 1)


def test_a_gateway_that_starts_counts_what_the_journal_has() -> None:
    now = DAY.seconds * 20_000 + 7_200.0
    counts = JournalCounts(lambda: now, lambda topic, operation: 3)
    for number, age in enumerate((1.0, 61.0, 7_100.0, 7_300.0)):  # the last one was yesterday
        counts.read("calls", record(f"c{number}", now - age))
    counts.read("calls", record("other", now, "wms"))
    day = counts.standing("crm", DAY, 10, 0, 1)
    assert (day.left, day.reset) == (1, DAY.seconds - 7_200 + 1)
    assert counts.standing("crm", MINUTE, 10, 0, 1).left == 10
    now += DAY.seconds
    counts.forget()
    assert counts.standing("crm", DAY, 10, 0, 1).left == 10


def test_calls_are_let_in_once_it_is_known_how_many_gateways_there_are() -> None:
    with virtual_time() as loop:

        async def story() -> None:
            log, client = SharedLog(), Client("crm", (), quota=Quota(per_day=11))
            one, other = (memory_limits(log, name) for name in "ab")
            with pytest.raises(Problem) as early:
                one.charge(client, "c0", 1)
            assert early.value.kind == "not-ready"
            seats = [loop.create_task(limits.keep_seat()) for limits in (one, other)]
            await asyncio.sleep(5)
            assert one.is_seated
            assert other.is_seated
            # Neither knows yet what the other lets in: each has its part.
            assert sum(limits.standings(client)[0].left for limits in (one, other)) == 11
            other.charge(client, "c1", other.standings(client)[0].left)
            with pytest.raises(Problem) as over:
                other.charge(client, "c2", 1)
            assert over.value.more == {"violated-policies": ["day"]}
            reset = other.standings(client)[0].reset
            assert int(over.value.headers["Retry-After"]) >= reset > 0
            for seat in seats:
                seat.cancel()

        loop.run_until_complete(story())


def parsed(text: str) -> list[tuple[str, dict[str, int]]]:
    """A list of RFC 9651: its items and their parameters."""
    return http_sf.parse(text.encode(), tltype="list")  # type: ignore[return-value]


def test_headers_are_structured_fields_and_agree() -> None:
    """10,000 of them, by somebody else's parser."""
    dice = Random(4)
    for _ in range(10_000):
        names = dice.sample(["second", "minute", "day"], dice.randint(1, 3))
        given_ = [
            Standing(n, *(dice.randint(1, 10**9) for _ in range(2)), *(dice.randint(0, 10**6),) * 2)
            for n in names
        ]
        headers = headers_of(given_)
        assert parsed(headers[POLICY]) == [(s.name, {"q": s.limit, "w": s.window}) for s in given_]
        assert parsed(headers[LEFT]) == [(s.name, {"r": s.left, "t": s.reset}) for s in given_]


def test_who_has_no_limits_is_told_of_none() -> None:
    assert headers_of([]) == {}
    assert shown("crm", [], 0.0) == {"client": "crm", "limits": []}


def test_usage_is_told() -> None:
    (limit,) = shown("crm", [Standing("minute", 10, 60, 4, 12)], 1_000.0)["limits"]
    assert (limit["limit"], limit["used"], limit["left"]) == (10, 6, 4)
    assert limit["resets"] == "1970-01-01T00:16:52.000Z"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"destination/erp", b"{}"),
        (b"quota/", b"{}"),
        (None, b"{}"),
        (b"quota/crm", b"[]"),
        (b"quota/crm", b"no json"),
        (b"quota/crm", b'{"per_second": "5"}'),
        (b"quota/crm", b'{"per_second": 0}'),
        (b"quota/crm", b'{"per_second": true}'),
        (b"quota/crm", b'{"per_week": 5}'),
        (b"quota/crm", b'{"per_day": 1e400}'),
    ],
)
def test_what_is_no_limit_changes_none(key: bytes | None, value: bytes) -> None:
    assert parsed_quota(key, value) is None
    quotas = Quotas()
    quotas.heard(b"quota/crm", b'{"per_day": 7}')
    quotas.heard(key, value)
    assert quotas.of("crm", Quota()) == Quota(per_day=7)
    quotas.heard(b"quota/crm", None)
    assert quotas.of("crm", Quota(per_second=1)) == Quota(per_second=1)
