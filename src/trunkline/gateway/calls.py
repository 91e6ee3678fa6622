"""Calls as a gateway makes them: each once, whatever is repeated, and by whichever replica."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from trunkline.access.policy import Client
from trunkline.gateway.book import CallBook
from trunkline.gateway.catalog import Offered
from trunkline.gateway.problems import Problem
from trunkline.gateway.writer import CallWriter
from trunkline.streams.journal.record import CallRecord

_NAMESPACE = uuid.UUID("6d1b3a4e-27a5-5c0e-9a3f-2c1f6f0f7e55")
"""Of the ids of calls: any UUID, the same for ever."""
HEARD_IN = 5.0
"""Seconds in which what was written is read again: so long it is known without that."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A call that is on its way or over, as it is known here now. ``fingerprint``: of what was
    asked for; ``repeated``: its key was used before, for the same."""

    call: CallRecord
    fingerprint: str
    repeated: bool


def call_id(client: str, offered: Offered, key: str) -> str:
    """The id of a call: the same in every gateway for one client, operation and key (UUID 5 of
    RFC 9562)."""
    named = "\n".join((client, offered.system, offered.name, key))
    return str(uuid.uuid5(_NAMESPACE, named))


class Calls:
    """Submits calls and waits for them. For the event loop. ``clock``: epoch seconds."""

    def __init__(self, book: CallBook, writer: CallWriter, clock: Callable[[], float]) -> None:
        self._book = book
        self._writer = writer
        self._clock = clock
        self._written: dict[str, CallRecord] = {}

    def is_known(self, offered: Offered, client: Client, key: str) -> bool:
        """Whether a call of this key was accepted before."""
        return self._known(call_id(client.name, offered, key)) is not None

    def _known(self, id_: str) -> CallRecord | None:
        """What is read of a call, or what was written of it here a moment ago: a caller may have
        the answer, and come again, before the gateway has read its own record."""
        if (known := self._book.get(id_)) is not None:
            return known
        written = self._written.get(id_)
        return written if written and self._clock() - written.at < HEARD_IN else None

    def _note_written(self, call: CallRecord) -> None:
        self._written[call.call] = call
        over = call.at - HEARD_IN
        while (oldest := next(iter(self._written.values()))).at < over:
            del self._written[oldest.call]

    async def submit(
        self, offered: Offered, client: Client, key: str, request: Any, traceparent: str
    ) -> Submitted:
        """Write the call, unless a worker has it already. Raises Problem.

        1. A key that was used for something else is refused.
        2. A call that a worker knows of is joined: nothing is written.
        3. One that waits for its approval is joined, too; a new one that needs it waits so.
        4. Any other is written, also where a gateway has accepted it before: that one may have died
           before the inbox had it. The worker runs one of the records, and skips the others.
        """
        value = offered.encode(request)
        fingerprint = hashlib.sha256(value[5:]).hexdigest()  # without the schema's id
        id_ = call_id(client.name, offered, key)
        known = self._known(id_)
        self.require_same(known, fingerprint)
        waits = known is not None and known.state == "needs_approval"
        if known is not None and (waits or self._book.is_taken_up(id_)):
            return Submitted(known, fingerprint, True)
        now = self._clock()
        call = CallRecord(
            call=id_,
            state="accepted",
            operation=offered.name,
            client=client.name,
            key=offered.entity_key(request) or id_,
            fingerprint=fingerprint,
            accepted_at=now,
            expires_at=now + offered.policy.expires,
            at=now,
        )
        # Approved a moment ago, and not taken up yet: it is past that, and only completed here.
        if offered.policy.approve and known is None:
            kept = base64.b64encode(value).decode()
            call = replace(call, state="needs_approval", request=kept)
            with confirmed(id_):
                await self._writer.write_pending(offered, call)
        else:
            with confirmed(id_):
                await self._writer.write(offered, call, value, traceparent)
        self._note_written(call)
        return Submitted(call, fingerprint, known is not None)

    @staticmethod
    def require_same(known: CallRecord | None, fingerprint: str) -> None:
        """Refuse a call whose key stands for another request. Asked before it is written, and
        again when its answer is there: two replicas may have got the key at the same moment, with
        two bodies, and the worker has run one of them."""
        if known is not None and known.fingerprint != fingerprint:
            raise Problem(
                "idempotency-key-reused",
                "the key stands for another request of the last 24 hours: use a new one",
                call=known.call,
            )


@contextmanager
def confirmed(id_: str) -> Iterator[None]:
    """Writing a record of a call: raises Problem where Kafka does not confirm it."""
    try:
        yield
    except KafkaException as failure:
        if failure.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
            raise Problem("body-too-large", "it is more than Kafka takes") from failure
        raise Problem(
            "not-written",
            f"Kafka has not confirmed it ({failure.args[0].name()}): it may still be done, so "
            "repeat it with the same Idempotency-Key",
            call=id_ or None,
            headers={"Retry-After": "2"},
        ) from failure
