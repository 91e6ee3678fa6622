"""Limits per second over several gateways, in virtual time: never above the whole, all of it where
somebody asks, lower at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quota_kit import SharedLog, memory_limits, virtual_time
from trunkline.access.policy import Client
from trunkline.access.quota import Quota, Quotas
from trunkline.gateway.problems import Problem
from trunkline.gateway.quota.limits import ClientLimits


def crm(**quota: int) -> Client:
    return Client("crm", ("*/*",), quota=Quota(**quota))


def run(story: Callable[[], Awaitable[None]]) -> None:
    with virtual_time() as loop:
        loop.run_until_complete(story())  # type: ignore[arg-type]


async def let_in(limits: ClientLimits, client: Client, units: int = 1) -> bool:
    try:
        await limits.admit(client, units)
    except Problem as problem:
        if problem.kind != "quota-exceeded":
            raise
        return False
    return True


def now() -> float:
    return asyncio.get_running_loop().time()


def most_in_a_second(granted: list[tuple[float, int]]) -> int:
    """The most units in any half-open second."""
    return max(
        (sum(u for at, u in granted if start <= at < start + 1.0) for start, _ in granted),
        default=0,
    )


@settings(max_examples=60)
@given(
    limit=st.sampled_from([1, 2, 3, 7, 40]),
    gateways=st.sampled_from([1, 2, 2, 3]),
    latency=st.sampled_from([0.001, 0.02, 0.3]),
    changes=st.booleans(),
    seed=st.integers(0, 10**9),
)
def test_over_all_gateways_never_more_than_the_limit_in_any_second(
    limit: int, gateways: int, latency: float, changes: bool, seed: int
) -> None:
    """And what is said to be left is left."""

    async def story() -> None:
        dice, log, granted = Random(seed), SharedLog(latency), list[tuple[float, int]]()
        client, quotas = crm(per_second=limit), [Quotas() for _ in range(gateways)]
        replicas = [memory_limits(log, f"g{n}", quotas[n]) for n in range(gateways)]

        async def calls(limits: ClientLimits, pause: float) -> None:
            until = now() + 8.0
            while now() < until:
                units = dice.choice([1, 1, 1, 2])
                if await let_in(limits, client, units):
                    granted.append((now(), units))
                (standing,) = limits.standings(client)
                used = sum(u for at, u in granted if at > now() - 1.0)
                assert 0 <= standing.left <= max(0, limit - used)
                await asyncio.sleep(dice.expovariate(1 / pause))

        pauses = [dice.choice([0.01, 0.1, 1.0, 5.0]) for _ in range(4 * gateways)]
        several = [calls(replicas[n % gateways], pause) for n, pause in enumerate(pauses)]
        await asyncio.gather(*several)
        assert most_in_a_second(granted) <= limit

    run(story)


def test_all_of_it_is_let_in_wherever_it_is_asked_for() -> None:
    async def story() -> None:
        log, client, granted = SharedLog(), crm(per_second=40), list[float]()
        one, other = (memory_limits(log, name) for name in ("a", "b"))

        async def calls(limits: ClientLimits, pause: float, seconds: float) -> None:
            until = now() + seconds
            while now() < until:
                if await let_in(limits, client):
                    granted.append(now())
                await asyncio.sleep(pause)

        # First all at one, while the other has a call a second, then the other way round.
        begun = now()
        await asyncio.gather(calls(one, 0.001, 30), calls(other, 1.0, 30))
        await asyncio.gather(calls(one, 1.0, 30), calls(other, 0.001, 30))
        # What is left out is given up within seconds of each turn, half of it in each.
        assert len(granted) >= 0.93 * 40 * (now() - begun)

    run(story)


def test_a_burst_is_let_in_at_once_and_what_is_more_is_told_when_to_come() -> None:
    async def story() -> None:
        limits, client = memory_limits(SharedLog(), "a"), crm(per_second=5)
        answers = await asyncio.gather(*(let_in(limits, client) for _ in range(30)))
        assert answers.count(True) == 5
        with pytest.raises(Problem) as refused:
            await limits.admit(client)
        assert refused.value.status == 429
        assert refused.value.headers["Retry-After"] == "1"
        assert refused.value.more == {"violated-policies": ["second"]}
        await asyncio.sleep(1.0)
        assert await let_in(limits, client)

    run(story)


def test_a_call_costs_what_its_operation_says() -> None:
    async def story() -> None:
        limits, client = memory_limits(SharedLog(), "a"), crm(per_second=5)
        assert await let_in(limits, client, 3)
        assert not await let_in(limits, client, 3)
        assert await let_in(limits, client, 2)
        with pytest.raises(Problem, match="it takes 6, and 5 in a second are allowed"):
            await limits.admit(client, 6)

    run(story)


def test_a_limit_that_is_changed_holds_at_once_without_the_file() -> None:
    async def story() -> None:
        log, quotas, client = SharedLog(), Quotas(), crm(per_second=40)
        replicas = [memory_limits(log, name, quotas) for name in "ab"]
        granted: list[tuple[float, int]] = []

        async def calls(limits: ClientLimits) -> None:
            while now() < end:
                if await let_in(limits, client):
                    granted.append((now(), 1))
                await asyncio.sleep(0.005)

        end = now() + 4.0
        calling = [asyncio.create_task(calls(one)) for one in replicas]
        await asyncio.sleep(2.0)
        changed_at = now()
        quotas.heard(b"quota/crm", b'{"per_second": 4}')
        await asyncio.gather(*calling)
        later = [one for one in granted if one[0] >= changed_at + 1.2]
        assert 0 < most_in_a_second(later) <= 4
        quotas.heard(b"quota/crm", None)
        end = now() + 4.0
        granted.clear()
        await asyncio.gather(*(calls(one) for one in replicas))
        assert most_in_a_second(granted) == 40

    run(story)


def test_who_floods_a_gateway_does_not_fill_it_with_what_waits() -> None:
    async def story() -> None:
        log, client = SharedLog(), crm(per_second=10)
        one, other = (memory_limits(log, name) for name in ("a", "b"))
        assert await let_in(other, client)
        flood = [asyncio.create_task(let_in(one, client)) for _ in range(500)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sum(not task.done() for task in flood) <= 20
        await asyncio.gather(*flood)

    run(story)


def test_clients_have_limits_of_their_own_and_none_where_none_is_given() -> None:
    async def story() -> None:
        limits = memory_limits(SharedLog(), "a")
        free, other = Client("free", ()), Client("other", (), quota=Quota(per_second=1))
        assert all([await let_in(limits, free) for _ in range(100)])
        assert limits.standings(free) == []
        assert await let_in(limits, crm(per_second=1))
        assert await let_in(limits, other)

    run(story)
