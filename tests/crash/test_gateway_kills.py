"""Calls through gateways and workers that are killed: none is lost, and none that is completed is
run again.

``GATEWAY_CALLS=6000 make test ARGS=tests/crash/test_gateway_kills.py`` sends so many, through more
kills, and through a broker of its own that is killed, too; some minutes."""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from broker import Broker

from gateway_kit import FLOW, Caller, GatewayProcess, System, client_key, order, wait_ready
from trunkline.params import Backbone
from worker_kit import Feed, Workers, environ_of, eventually

USUAL = 240
CALLS = int(os.environ.get("GATEWAY_CALLS", USUAL))
"""More than usual: with a broker that is killed, and more kills."""
CALLERS = 12
PATIENCE = 100.0 if CALLS == USUAL else 900.0


class Crowd:
    """Callers of two gateways, each of which sends every call of its own until it has the answer,
    two to four times, to either gateway. ``answered``: when a call had its first one, monotonic."""

    def __init__(self, gateways: list[GatewayProcess], key: str, seed: int) -> None:
        self._callers = [
            [Caller(one.url, key, timeout=15) for one in gateways] for _ in range(CALLERS)
        ]
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.answered: dict[str, float] = {}
        self.wrong: list[str] = []
        self.given_up: list[str] = []

    def send(self, number: int) -> None:
        """One call, until it is answered as often as it is to be."""
        id_, mine = f"o{number}", self._callers[number % CALLERS]
        with self._lock:
            times = self._random.randint(2, 4)
        until = time.monotonic() + PATIENCE
        while times:
            if time.monotonic() > until:
                self.given_up.append(id_)
                return
            with self._lock:
                caller = self._random.choice(mine)
            try:
                answer = caller.post("correct_order", order(id_, number), key=f"key-{number}")
            except httpx.TransportError:
                time.sleep(0.05)  # it was killed, and comes again
                continue
            if answer.status_code == 200:
                times -= 1
                with self._lock:
                    self.answered.setdefault(id_, time.monotonic())
            elif answer.status_code not in (202, 503):
                self.wrong.append(f"{id_}: {answer.status_code} {answer.text}")
                return

    def close(self) -> None:
        for caller in (one for mine in self._callers for one in mine):
            caller.close()


@pytest.fixture
def own_broker(server_home: Path) -> Iterator[Broker | None]:
    """One that is killed, at full size."""
    if CALLS == USUAL:
        yield None
        return
    with Broker(server_home / f"gateway-{uuid.uuid4().hex[:8]}") as running:
        yield running


def _kill(
    gateways: list[GatewayProcess], workers: Workers, crowd: Crowd, own_broker: Broker | None
) -> None:
    """One after the other, each when some more of the calls are through."""

    def done(share: float) -> None:
        told = f"{share:.0%} are through"
        eventually(lambda: len(crowd.answered) >= share * CALLS, told, PATIENCE)

    def kill_gateway(number: int) -> None:
        gateways[number].kill()
        gateways[number].restart()

    def kill_worker(*, and_start: bool) -> None:
        workers.kill(workers.of("deliver")[0])
        if and_start:
            workers.start("deliver")

    done(0.1)
    kill_gateway(0)
    done(0.3)
    kill_worker(and_start=own_broker is not None)
    if own_broker is not None:
        done(0.4)
        own_broker.kill()
        own_broker.up()
        done(0.5)
        kill_worker(and_start=True)
        kill_gateway(0)
    done(0.6)
    kill_gateway(1)
    if own_broker is not None:
        done(0.8)
        kill_worker(and_start=True)
        kill_worker(and_start=True)


@pytest.mark.timeout(400 if CALLS == USUAL else 1800)
def test_no_completed_call_runs_twice_and_none_is_lost(
    own_broker: Broker | None, bootstrap: str, registry_url: str, tmp_path: Path
) -> None:
    name = f"killed-{uuid.uuid4().hex[:8]}"
    address = own_broker.address if own_broker else bootstrap
    backbone = Backbone(bootstrap=address, registry=registry_url)
    flow, access = tmp_path / "shop.py", tmp_path / "access.toml"
    flow.write_text(FLOW)
    key = client_key(access, "crm", "erp/*")
    with System(delay=0.02) as erp:
        feed = Feed(backbone, f"{name}.orders")
        environ = environ_of(backbone, erp_url=erp.url, flow=name, topic=feed.topic)
        gateways = [GatewayProcess(flow, access, environ, tmp_path / f"{n}.log") for n in (1, 2)]
        with Workers(flow, tmp_path, environ) as workers, gateways[0], gateways[1]:
            both = [workers.start("deliver") for _ in range(2)]
            wait_ready(*gateways)
            eventually(lambda: all(one.ready for one in both), "the workers are ready")
            crowd = Crowd(gateways, key, seed=7)
            with ThreadPoolExecutor(CALLERS) as pool:
                sent = [pool.submit(crowd.send, number) for number in range(CALLS)]

                _kill(gateways, workers, crowd, own_broker)
                for future in sent:
                    future.result()
            crowd.close()
            wait_ready(*gateways)
            for gateway in gateways:
                gateway.stop()
    assert (crowd.wrong, crowd.given_up) == ([], [])
    runs: dict[str, list[float]] = defaultdict(list)
    for seen in erp.seen:
        runs[seen.path.split("/")[2]].append(seen.at)
    assert runs.keys() == {f"o{number}" for number in range(CALLS)}, "none is lost"
    late = {id_: at for id_, at in crowd.answered.items() if max(runs[id_]) > at}
    assert late == {}, "run again after its answer"
    keys = {(seen.path.split("/")[2], seen.key) for seen in erp.seen}
    assert len(keys) == CALLS, "a call has one id, whoever sends it"
    twice = sum(len(times) > 1 for times in runs.values())
    # What was under way when a worker, or the broker, died is sent again, and no more.
    deaths = 1 if own_broker is None else 5
    print(f"{CALLS} calls, {len(erp.seen)} requests, {twice} calls sent to the system twice")
    assert twice <= CALLERS * deaths, f"{twice} of {CALLS} calls were sent to the system twice"


@pytest.mark.timeout(400)
def test_a_worker_that_dies_leaves_doubt_where_it_is_told_to(
    bootstrap: str, registry_url: str, tmp_path: Path
) -> None:
    """Killed while the system works on calls of each kind. What must not be sent twice is not: a
    query tells that it was done, or a person must. What may be repeated is."""
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)
    flow, access, name = tmp_path / "shop.py", tmp_path / "access.toml", uuid.uuid4().hex[:8]
    flow.write_text(FLOW)
    key = client_key(access, "crm", "erp/*")
    kinds = {
        f"{kind}_order": [f"{kind}{n}" for n in range(4)] for kind in ("ship", "pay", "correct")
    }
    with System(delay=1.5) as erp:
        feed = Feed(backbone, f"doubt-{name}.orders")
        environ = environ_of(backbone, erp_url=erp.url, flow=f"doubt-{name}", topic=feed.topic)
        gateway = GatewayProcess(flow, access, environ, tmp_path / "gateway.log")
        with Workers(flow, tmp_path, environ) as workers, gateway:
            (first,) = workers.started("deliver")
            wait_ready(gateway)
            caller, paths = Caller(gateway.url, key), {}
            for kind, ids in kinds.items():
                for id_ in ids:
                    sent = caller.post(kind, order(id_), key=id_, prefer="respond-async")
                    paths[id_] = sent.headers["Location"]
            eventually(lambda: len(erp.seen) == len(paths), "all are under way")
            workers.kill(first)
            erp.delay = 0.0
            workers.started("deliver")
            told = {}
            for id_, path in paths.items():
                left = 60.0
                while (found := caller.get(path, prefer="wait=30").json())["state"] == "attempting":
                    left -= 30.0
                    assert left > 0, found
                told[id_] = found["state"]
            caller.close()
            gateway.stop()
    times = {id_: len(erp.of(id_)) for id_ in paths}
    assert {told[id_] for id_ in kinds["ship_order"]} == {"in_doubt"}
    assert {told[id_] for id_ in kinds["pay_order"]} == {"succeeded"}
    assert {told[id_] for id_ in kinds["correct_order"]} == {"succeeded"}
    assert {times[id_] for id_ in (*kinds["ship_order"], *kinds["pay_order"])} == {1}
    assert {times[id_] for id_ in kinds["correct_order"]} == {2}
