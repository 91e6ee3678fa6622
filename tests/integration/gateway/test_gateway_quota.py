"""Limits of clients over two gateways on a real broker: never exceeded, told on every answer,
changed while they run."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import http_sf
import httpx
import pytest
from typer.testing import CliRunner

from cluster_world import process_left_as_it_was
from gateway_kit import Caller, World, client_key, order
from trunkline import admin, naming
from trunkline.admin.audit import read_audit
from trunkline.cli import app
from worker_kit import eventually

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def limited(world: World) -> Iterator[Callable[[str], list[Caller]]]:
    """Callers of a new client with these limits, one at each gateway."""
    made: list[Caller] = []

    def make(quota: str) -> list[Caller]:
        client = f"c-{uuid.uuid4().hex[:8]}"
        with world.access.open("a") as file:
            # Its right is there before its key: who knows the key knows what it may do.
            file.write(f'\n[clients.{client}]\nquota = {quota}\ncall = ["erp/*"]\n')
        key = client_key(world.access, client, "erp/*")
        callers = [Caller(gateway.url, key) for gateway in world.gateways]
        made.extend(callers)
        for caller in callers:
            eventually(lambda c=caller: c.get("/v1/quota").status_code != 401, "known")
        return callers

    yield make
    for caller in made:
        caller.close()


def call(caller: Caller) -> httpx.Response:
    id_ = uuid.uuid4().hex[:12]
    return caller.post("correct_order", order(id_), key=id_, prefer="respond-async")


def cli(*command: str) -> str:
    """What a command prints."""
    with process_left_as_it_was():
        return CliRunner().invoke(app, list(command), catch_exceptions=False).output


def left(answer: httpx.Response) -> dict[str, tuple[int, int]]:
    """What an answer says of each limit: the units that are left, and when there are more."""
    items = http_sf.parse(answer.headers["RateLimit"].encode(), tltype="list")
    return {name: (said["r"], said["t"]) for name, said in items}


def test_two_gateways_together_let_in_no_more_than_the_limits(
    world: World, limited: Callable[[str], list[Caller]]
) -> None:
    callers = limited("{per_second = 20, per_day = 60}")
    answers: list[httpx.Response] = []

    def taken() -> int:
        return sum(answer.status_code == 202 for answer in answers)

    def flood(number: int) -> None:
        """Until all of it is taken, and on."""
        deadline = time.monotonic() + 120
        while taken() < 60 and time.monotonic() < deadline:
            answers.append(call(callers[number % 2]))
        answers.extend(call(callers[number % 2]) for _ in range(5))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(flood, range(6)))
    assert taken() == 60
    assert {answer.status_code for answer in answers} == {202, 429}
    for answer in answers:
        assert answer.headers["RateLimit-Policy"] == '"second";q=20;w=1, "day";q=60;w=86400'
        if answer.status_code == 429:
            violated = answer.json()["violated-policies"]
            reset = max(left(answer)[name][1] for name in violated)
            assert int(answer.headers["Retry-After"]) >= reset
            assert answer.json()["type"] == "/problems/quota-exceeded"
    for caller in callers:
        (second, day) = caller.get("/v1/quota").json()["limits"]
        assert (day["limit"], day["used"], day["left"]) == (60, 60, 0)
        assert second["limit"] == 20


def test_a_repeated_call_takes_nothing_of_the_day(
    world: World, limited: Callable[[str], list[Caller]]
) -> None:
    one, other = limited("{per_day = 5}")
    id_ = uuid.uuid4().hex[:12]
    for caller in (one, one, other, other):
        assert caller.post("correct_order", order(id_), key=id_).status_code == 200
    # Once what the first one let in is read by all, what is left is divided anew.
    eventually(
        lambda: sum(left(caller.get("/v1/quota"))["day"][0] for caller in (one, other)) == 4,
        "one call is counted",
    )


def test_limits_are_changed_while_gateways_run_and_it_stands_in_the_audit(
    world: World, limited: Callable[[str], list[Caller]], monkeypatch: pytest.MonkeyPatch
) -> None:
    callers = limited("{per_second = 1000}")
    client = callers[0].get("/v1/quota").json()["client"]
    monkeypatch.setenv("TRUNKLINE_BOOTSTRAP", world.backbone.bootstrap)
    changed = cli(
        "access", "quota", client, "--per-second", "3", "--per-day", "100", "--why", "load"
    )
    assert changed == f"{client}: 3 per second, 100 per day\n"
    begun = time.monotonic()
    for caller in callers:
        eventually(lambda c=caller: len(c.get("/v1/quota").json().get("limits", ())) == 2, "held")
    assert time.monotonic() - begun < 20  # two seconds are promised, of a machine that is idle
    assert cli("access", "quota", client) == changed
    (audited,) = [one for one in read_audit(world.backbone, naming.GATEWAYS) if one.on == client]
    assert (audited.what, audited.why) == ("quota", "load")
    assert audited.more == {"per_second": 3, "per_day": 100}
    cleared = cli("access", "quota", client, "--clear")
    assert cleared == f"{client}: as in the file\n"
    for caller in callers:
        eventually(
            lambda c=caller: (
                [x["limit"] for x in c.get("/v1/quota").json().get("limits", ())] == [1000]
            ),
            "the file's again",
        )
    assert client not in admin.changed_quotas(world.backbone)


def test_who_asked_for_what_can_be_read(
    world: World, limited: Callable[[str], list[Caller]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what was denied; by the names of fields, and no value."""
    callers = limited("{per_day = 1}")
    caller = callers[0]
    client = caller.get("/v1/quota").json()["client"]
    id_ = f"secret-{uuid.uuid4().hex}"
    # The only unit of the day is that of one of the two gateways.
    answers = [c.post("correct_order", order(id_), key=f"{id_}-{n}") for n, c in enumerate(callers)]
    done, refused = sorted(answers, key=lambda answer: answer.status_code)
    assert (done.status_code, refused.status_code) == (200, 429)
    assert caller.post("nothing", order(id_), key=id_).status_code == 404
    assert world.stranger.post("correct_order", order(id_), key=id_).status_code == 403
    monkeypatch.setenv("TRUNKLINE_BOOTSTRAP", world.backbone.bootstrap)
    command = ["access", "audit", "--since", "10m", "--json", "--client"]

    def told() -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(cli(*command, client))
        return found

    eventually(lambda: len(told()) == 2, "both are written")
    first, second = sorted(told(), key=lambda one: str(one["status"]))
    assert (first["what"], first["on"], first["right"]) == ("call", "erp/correct_order", "erp/*")
    assert (first["outcome"], first["status"]) == ("done", 200)
    assert first["call"] == done.headers["Trunkline-Call"]
    assert first["fields"] == ["id", "status", "total_cents"]
    assert (second["outcome"], second["status"]) == ("quota-exceeded", 429)
    denied = cli("access", "audit", "--since", "10m", "--denied", "--client", "wms")
    assert "forbidden" in denied
    assert id_ not in cli("access", "audit", "--since", "10m")
