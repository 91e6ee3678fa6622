"""An HTTP API that misbehaves by a script, in a process of its own.

Each destination has a port, a script over time and a share of single misdeeds, all of them drawn
from one seed. It does the work of a request when the request arrives, before it answers, so what
it applied is in the order of its log, one file a destination, a line a request:

    {"at": 8123.4, "sent": 8123.3, "key": "k7", "number": 12, "id": "…", "worker": 4711,
     "attempt": 0, "does": "late", "applied": true}

Times are monotonic, which on Linux is one clock for all processes. A second line, with ``at`` and
``lost``, says that the answer may not have reached the client.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from aiohttp import web

TIMEOUT = 2.0
"""Seconds that the clients wait for an answer."""
PHASES = ("refuse", "hang", "503", "429")
"""How all of a destination can misbehave for some seconds. Before the last one it is an outage."""
MISDEEDS = {
    "500": 0.01,
    "429": 0.0003,
    "half": 0.006,
    "late": 0.003,
    "hang": 0.002,
    "503": 0.002,
    "200": 0.003,
}
"""What single requests meet, and how often; rarely 429, as that slows down all that follow. 200 is
an answer whose body is not what its headers say."""
DELIVERED = ("204", "200")
"""Answers that are told whole. Whatever their body is, the event is delivered."""
ODD_TIMES = ("1", "1", "1", "99999999999999", "1e400", "nan", "-5", "Fri, 31 Dec 9999 23:59:59 GMT")
"""What stands in ``Retry-After``, which is bounded by what the flow says."""
ODD_BODIES: tuple[tuple[dict[str, str], bytes], ...] = (
    ({"Content-Encoding": "gzip", "Content-Type": "application/json"}, b""),
    ({"Content-Encoding": "gzip", "Content-Type": "application/json"}, b"no gzip"),
    ({"Content-Type": "application/json; charset=no-such"}, b'{"status": "ok'),
    ({"Content-Type": "text/html"}, b"<html>\xff\xfe</html>"),
)
"""Headers and bodies of a 200 that do not suit each other."""
HALTING = ("k0", "k1")
"""Keys whose events go to the destination that halts: what waits behind a halted event is moved
again and again in tiers as short as these."""
AFTERWARDS = tuple(f"after{number}" for number in range(20))
"""Keys of the events that come until every poison event is concluded: one that is alone in its
destination is held, as nothing tells it from an outage."""

POISON, STUBBORN = 0.003, 0.002
"""Shares of events that are answered 400, and 500, whenever they come."""
POISONS = {"502": 0.001, "503": 0.001, "hang": 0.001, "reset": 0.001}
"""Shares of events that the API cannot bear: each of their calls looks like an outage."""
POISONED, AGAIN = 60, 240
"""The first events of a key may be poison, and as many after so many: each is held for a while, and
those that come together late are all that the run waits for in the end."""


@dataclass(frozen=True)
class Phase:
    """What a destination does for a while; times in seconds since the script's begin."""

    begin: float
    end: float
    does: str


def script(seed: str, seconds: float) -> list[Phase]:
    """The bad times of a destination: each kind of them comes before one comes again."""
    chance, at = random.Random(seed), 0.0
    phases: list[Phase] = []
    kinds: list[str] = []
    while True:
        begin = at + chance.uniform(3, 9)
        at = begin + chance.uniform(2, 6)
        if at > seconds:
            return phases
        kinds = kinds or chance.sample(PHASES, len(PHASES))
        phases.append(Phase(begin, at, kinds.pop()))


def fate(seed: str, key: str, number: int) -> str:
    """What an event is answered whenever it comes: 400, 500, one of POISONS, or "" for anything.
    More often so for the keys that are few, which have no POISONS: behind one that halts, all
    others may wait. Nor have those of AFTERWARDS, which show that the API is up."""
    drawn = random.Random(f"{seed}/{key}/{number}").random() / (2.5 if key in HALTING else 1)
    shares = {"400": POISON, "500": STUBBORN}
    if key not in HALTING and key not in AFTERWARDS and number % AGAIN < POISONED:
        shares |= POISONS
    return _drawn(drawn, shares)


def _drawn(drawn: float, shares: dict[str, float]) -> str:
    for does, share in shares.items():
        drawn -= share
        if drawn < 0:
            return does
    return ""


def misdeed(seed: str, id_: str, time_: int) -> str:
    """What the so-manieth request of an event meets that nothing else decides about."""
    drawn = random.Random(f"{seed}/{id_}/{time_}").random()
    return _drawn(drawn, MISDEEDS) or "204"


@dataclass(frozen=True)
class Request:
    """One request as it is logged; ``does``: how it was answered."""

    at: float
    sent: float
    key: str
    number: int
    id: str
    worker: int
    attempt: int
    does: str
    applied: bool


class Api:
    """One destination."""

    def __init__(self, seed: str, port: int, phases: list[Phase], log: TextIO) -> None:
        self._seed = seed
        self._port = port
        self._phases = phases
        self._log = log
        self._times: Counter[str] = Counter()
        self._phase = ""

    async def run(self, begin: float) -> None:
        """Follow the script, and be good when it is over."""
        await self._up()
        for phase in self._phases:
            await asyncio.sleep(begin + phase.begin - time.monotonic())
            self._phase = phase.does
            if phase.does == "refuse":
                await self._runner.cleanup()
            await asyncio.sleep(begin + phase.end - time.monotonic())
            self._phase = ""
            if phase.does == "refuse":
                await self._up()

    async def _up(self) -> None:
        app = web.Application()
        app.router.add_post("/orders/{key}", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        order = await request.json()
        logged = self._decide(request, order["total_cents"])
        self._write(asdict(logged))
        try:
            return await getattr(self, f"_{logged.does}", self._answer)(request, logged)
        except (asyncio.CancelledError, ConnectionError):
            self._lose(logged)
            raise

    def _decide(self, request: web.Request, number: int) -> Request:
        key, id_ = request.match_info["key"], request.query["id"]
        self._times[id_] += 1
        does = self._phase if self._phase in PHASES[1:] else fate(self._seed, key, number)
        does = does or misdeed(self._seed, id_, self._times[id_])
        half = does == "half" and random.Random(f"{id_}{self._times[id_]}").random() < 0.5
        return Request(
            at=time.monotonic(),
            sent=float(request.query["sent"]),
            key=key,
            number=number,
            id=id_,
            worker=int(request.headers["Worker"]),
            attempt=int(request.query["attempt"] or 0),
            does=does,
            applied=does in (*DELIVERED, "late") or half,
        )

    async def _answer(self, request: web.Request, logged: Request) -> web.StreamResponse:
        await asyncio.sleep(0.005)
        headers, body, odd = dict[str, str](), b"", random.Random(f"{logged.id}{logged.at}")
        if logged.does in ("429", "503"):
            headers["Retry-After"] = odd.choice(ODD_TIMES)
        if logged.does == "200":
            headers, body = odd.choice(ODD_BODIES)
        response = web.StreamResponse(status=int(logged.does), headers=headers)
        response.content_length = len(body)
        await response.prepare(request)
        await response.write_eof(body)
        if time.monotonic() - logged.sent > TIMEOUT / 2:  # who knows whether it still waits
            self._lose(logged)
        return response

    async def _half(self, request: web.Request, logged: Request) -> web.StreamResponse:
        """Close in the middle of the answer. A status of 2xx is only said of what was applied: to
        HttpSink that line is delivery, whatever comes of the rest."""
        status = 200 if logged.applied else 502
        response = web.StreamResponse(status=status, headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"so far")
        assert request.transport is not None
        request.transport.close()
        return response

    async def _reset(self, request: web.Request, logged: Request) -> web.StreamResponse:
        """Break the connection without a word."""
        assert request.transport is not None
        request.transport.abort()
        return web.Response(status=500)

    async def _hang(self, request: web.Request, logged: Request) -> web.StreamResponse:
        """Say nothing for longer than anybody waits; nothing is done either."""
        await asyncio.sleep(TIMEOUT * 1.5)
        return web.Response(status=504)

    async def _late(self, request: web.Request, logged: Request) -> web.StreamResponse:
        """It is done, and nobody hears of it."""
        await asyncio.sleep(TIMEOUT * 1.5)
        return web.Response(status=204)

    def _lose(self, logged: Request) -> None:
        self._write({"at": logged.at, "lost": True})

    def _write(self, line: dict[str, Any]) -> None:
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()


def requests_of(log: Path) -> tuple[list[Request], set[float]]:
    """The requests that a destination has got, in the order of their coming, and ``at`` of those
    whose answer was lost."""
    requests, lost = [], set()
    for line in _lines(log):
        if "lost" in line:
            lost.add(line["at"])
        else:
            requests.append(Request(**line))
    return requests, lost


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    for line in log.read_text().splitlines(keepends=True):
        if line.endswith("\n"):  # else it is just being written
            yield json.loads(line)


async def serve(ports: dict[str, int], seed: str, seconds: float, home: Path) -> None:
    """All destinations, until this process ends."""
    begin = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for name, port in ports.items():
            log = (home / f"{name}.requests").open("w")
            own = f"{seed}/{name}"
            tasks.create_task(Api(own, port, script(own, seconds), log).run(begin))
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--seconds", type=float, required=True, help="how long it misbehaves")
    parser.add_argument("--home", type=Path, required=True, help="folder of the logs")
    parser.add_argument("ports", nargs="+", metavar="NAME=PORT")
    given = parser.parse_args()
    named = (port.split("=") for port in given.ports)
    ports = {name: int(port) for name, port in named}
    asyncio.run(serve(ports, given.seed, given.seconds, given.home))


if __name__ == "__main__":
    main()
