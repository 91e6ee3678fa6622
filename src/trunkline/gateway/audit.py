"""Writes down who asks a gateway for what, and what came of it; also what is denied.

A record is given to Kafka when its request is answered, and not waited for: that a call was made,
and by whom, stands in the topic of calls as well, which is. ``lost``: what Kafka did not take.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from trunkline.access.audit import AccessRecord
from trunkline.access.policy import Client
from trunkline.gateway.answers import CALL
from trunkline.gateway.problems import Problem
from trunkline.streams.journal.record import moment_of

log = logging.getLogger(__name__)

MAX_FIELDS = 100
UNKNOWN_PER_SECOND = 10
"""Records of requests of nobody knows whom: anybody can send any number of them."""
Write = Callable[[bytes, bytes, Callable[[str], None]], None]
"""Takes key and value of a record, and whom to tell that it is lost."""


@dataclass(frozen=True, slots=True)
class Deed:
    """What a request asks for, as far as it is known."""

    client: Client
    what: str
    on: str
    right: str = ""
    fields: tuple[str, ...] = ()


class AccessAudit:
    """For the event loop. ``write``: gives a record to Kafka; ``clock``: epoch seconds."""

    def __init__(self, write: Write, clock: Callable[[], float]) -> None:
        self._write = write
        self._clock = clock
        self.lost = 0
        self._second, self._unknown, self._left_out = 0, 0, 0

    @staticmethod
    def note(request: Request, client: Client, what: str, on: str, right: str = "") -> None:
        """What a request asks for; it is written when it is answered."""
        request.state.deed = Deed(client, what, on, right)

    @staticmethod
    def rename(request: Request, what: str) -> None:
        """It asks for something else than was noted."""
        request.state.deed = replace(request.state.deed, what=what)

    @staticmethod
    def note_fields(request: Request, value: Any) -> None:
        """What was sent with it: names of fields that have a value, which are those of a schema."""
        deed: Deed | None = getattr(request.state, "deed", None)
        if deed is not None and isinstance(value, Mapping):
            names = [name for name, one in value.items() if one is not None]
            request.state.deed = replace(deed, fields=tuple(names[:MAX_FIELDS]))

    def answered(self, request: Request, response: Response) -> None:
        """A request is answered."""
        outcome = "accepted" if response.status_code == 202 else "done"
        call = response.headers.get(CALL, "")
        self._record(request, outcome, response.status_code, call)

    def refused(self, request: Request, problem: Problem) -> None:
        """A request is answered with a problem."""
        call = str(problem.more.get("call") or problem.headers.get(CALL, ""))
        lacks = str(problem.more.get("permission") or "")
        if problem.kind == "unauthorized":
            self._nobody(problem.status)
        else:
            self._record(request, problem.kind, problem.status, call, lacks)

    def _record(
        self, request: Request, outcome: str, status: int, call: str, lacks: str = ""
    ) -> None:
        deed: Deed | None = getattr(request.state, "deed", None)
        if deed is None:
            return
        record = AccessRecord(
            at=moment_of(self._clock()),
            client=deed.client.name,
            by=deed.client.by,
            what=deed.what,
            on=deed.on,
            right=lacks or deed.right,
            call=call or request.path_params.get("id", ""),
            outcome=outcome,
            status=status,
            fields=deed.fields,
        )
        self._write(deed.client.name.encode(), record.encoded(), self._is_lost)

    def _nobody(self, status: int) -> None:
        second = int(self._clock())
        if second != self._second:
            self._second, self._unknown = second, 0
        self._unknown += 1
        if self._unknown > UNKNOWN_PER_SECOND:
            self._left_out += 1
            return
        record = AccessRecord(
            at=moment_of(self._clock()),
            what="unauthorized",
            outcome="unauthorized",
            status=status,
            more=self._left_out,
        )
        self._left_out = 0
        self._write(b"", record.encoded(), self._is_lost)

    def _is_lost(self, why: str) -> None:
        if self.lost == 0:
            log.error("records of the audit are lost: %s", why)
        self.lost += 1
