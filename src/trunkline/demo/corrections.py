"""The airport's desk: corrects delays by an operation of the operations' system, at the gateway."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import orjson

from trunkline.demo.history import Correction, History
from trunkline.errors import TrunklineError

OPERATION = "/v1/systems/operations/operations/correct_delay"
EACH = 5
"""Flights that are corrected while it is steady, each twice, so that their order shows."""
PATIENT, IMPATIENT, NOT_AT_ALL = "wait=30", "wait=2", "respond-async"
"""How long who calls wants to wait for the answer: the header Prefer."""
_SECONDS = 40.0


@dataclass
class Answers:
    """What the gateway has answered. ``done``: at once, with the system's answer; ``accepted``:
    to be done; ``refused``: while the system was down, to who would have waited; ``while_down``:
    accepted in the outage; ``succeeded``: of the accepted ones in the end."""

    done: int = 0
    accepted: int = 0
    refused: int = 0
    while_down: int = 0
    succeeded: int = 0


class CorrectionDesk:
    """Calls the operation in the background, and writes what was taken into ``history``; a context
    manager. ``flights``: ids of those that are corrected; ``answers``: counts what is answered."""

    def __init__(
        self, url: str, key: str, flights: Sequence[str], history: History, answers: Answers
    ) -> None:
        self._url = url
        self._key = key
        self._flights = flights
        self._history = history
        self._places: list[str] = []
        self._pool = ThreadPoolExecutor(1, "corrections")
        self._under_way: list[Future[None]] = []
        self._number = 0
        self.answers = answers

    def __enter__(self) -> CorrectionDesk:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def steady(self) -> None:
        """Correct some flights, each twice; does not wait."""
        self._under_way.append(self._pool.submit(self._correct_twice))

    def while_down(self) -> None:
        """Correct a flight while operations are out of service; does not wait."""
        self._under_way.append(self._pool.submit(self._correct_while_down))

    def ask_for_the_rest(self) -> None:
        """Ask what became of calls that were accepted, once all are made; does not wait."""
        self._under_way.append(self._pool.submit(self._ask_for_the_rest))

    def is_done(self) -> bool:
        """Whether all that was asked for is over. Raises TrunklineError for what was not taken."""
        for future in [future for future in self._under_way if future.done()]:
            future.result()
            self._under_way.remove(future)
        return not self._under_way

    def _ask_for_the_rest(self) -> None:
        for place in self._places:
            status, _, call = self._ask("GET", place, prefer="wait=30")
            self.answers.succeeded += status == 200 and call["state"] == "succeeded"
        self._places.clear()

    def _correct_twice(self) -> None:
        for flight in self._flights[:EACH]:
            self._call(self._correction(flight, "the crew is late"), PATIENT)
            self._call(self._correction(flight, "the crew is there"), NOT_AT_ALL)

    def _correct_while_down(self) -> None:
        """Who waits for the answer is told that there will be none, or not soon; who does not is
        let in, with the same key."""
        correction = self._correction(self._flights[0], "the runway is closed")
        before = self.answers.refused
        self._call(correction, IMPATIENT)
        if self.answers.refused > before:
            self._call(correction, NOT_AT_ALL)
        self.answers.while_down += 1

    def _correction(self, flight: str, reason: str) -> Correction:
        self._number += 1
        return Correction(flight, self._number, reason)

    def _call(self, correction: Correction, prefer: str) -> None:
        moment = time.time()
        body = correction._asdict()
        key = f"correction-{correction.delay_minutes}"
        status, headers, answer = self._ask("POST", OPERATION, body, prefer, key)
        if status == 503 and answer["type"] == "/problems/system-unavailable":
            self.answers.refused += 1
            return
        if status not in (200, 201, 202, 204):
            raise TrunklineError(f"the gateway refuses a correction: {status} {answer}")
        self._history.corrected(correction, moment)
        if status == 202:
            self.answers.accepted += 1
            self._places.append(headers["Location"])
        else:
            self.answers.done += 1

    def _ask(
        self, method: str, path: str, body: Any = None, prefer: str = "", key: str = ""
    ) -> tuple[int, Any, Any]:
        """Status, headers and JSON of an answer. Raises OSError where there is none."""
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        headers |= {"Prefer": prefer, "Idempotency-Key": key or "none"}
        data = None if body is None else orjson.dumps(body)
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
                return answer.status, answer.headers, orjson.loads(answer.read() or b"null")
        except urllib.error.HTTPError as refused:
            return refused.code, refused.headers, orjson.loads(refused.read() or b"null")
