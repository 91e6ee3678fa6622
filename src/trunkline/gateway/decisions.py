"""What people decide of calls: cancel, approve, and what became of one in doubt.

A gateway only writes down what is wanted. The worker that has the call's partition brings it
about, or not, if it is too late: so of two people at two gateways, or a person and an answer, one
wins.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

from trunkline.access.policy import Client
from trunkline.gateway.book import CallBook
from trunkline.gateway.calls import confirmed
from trunkline.gateway.catalog import Offered
from trunkline.gateway.problems import Problem
from trunkline.gateway.writer import CallWriter
from trunkline.streams.journal.record import CallRecord, CallState

SETTLED = 3.0
"""Seconds to wait for the worker's word."""
MAX_WHY = 300
OUTCOMES: dict[str, CallState] = {"succeeded": "succeeded", "failed": "dead"}
REPEAT = "repeat"


class Decisions:
    """Asked by the URLs, once the client is known. For the event loop. ``clock``: epoch seconds.

    Each method returns the call as it is then; raises Problem where it cannot be any more, or the
    client lacks the right.
    """

    def __init__(self, book: CallBook, writer: CallWriter, clock: Callable[[], float]) -> None:
        self._book = book
        self._writer = writer
        self._clock = clock

    async def cancel(
        self, client: Client, call: CallRecord, offered: Offered, body: Any
    ) -> CallRecord:
        """Make no attempt more. For the client itself, for those who may approve the call or
        resolve calls of the operation. An attempt that is under way ends as it ends."""
        why = _why(body)
        if call.client != client.name and not may_decide(client, call, offered):
            _require_resolve(client, offered)
        if call.state == "cancelled":
            return call
        if call.is_over:
            raise _too_late(call)
        wanted = self._wanted(call, "cancelled", f"cancelled by {client.name}", why)
        return await self._decide(offered, wanted)

    async def approve(
        self, client: Client, call: CallRecord, offered: Offered, body: Any
    ) -> CallRecord:
        """Let a call run that needs approval: it goes into the inbox now."""
        _why(body)
        role = offered.policy.approve
        if role not in client.roles:
            raise Problem("forbidden", f"{client.name} lacks the role {role}", permission=role)
        if call.client == client.name:
            raise Problem("forbidden", "nobody approves a call of their own", permission=role)
        if call.state != "needs_approval":
            if call.state == "cancelled" or call.state == "expired":
                raise _too_late(call)
            return call
        approved = replace(
            call, state="accepted", at=self._clock(), request=None, why=f"approved by {client.name}"
        )
        with confirmed(call.call):
            await self._writer.write(offered, approved, _request(call), "")
        found = self._book.get(call.call)
        return approved if found is None or found.state == "needs_approval" else found

    async def resolve(
        self, client: Client, call: CallRecord, offered: Offered, body: Any
    ) -> CallRecord:
        """Say what became of a call in doubt: it succeeded, or failed, or is to be sent again."""
        _require_resolve(client, offered)
        why, outcome = _why(body), body.get("outcome") if isinstance(body, dict) else None
        if outcome not in (*OUTCOMES, REPEAT):
            raise Problem("not-acceptable", "outcome is succeeded, failed or repeat")
        if call.state != "in_doubt":
            raise _too_late(call)
        said = f"{client.name} says that it {outcome}"
        if outcome != REPEAT:
            return await self._decide(
                offered, self._wanted(call, OUTCOMES[str(outcome)], said, why)
            )
        value = _request(call)
        with confirmed(call.call):
            await self._writer.write(offered, call, value, "", f"resolve-{uuid.uuid4()}")
        return await self._settled(call, call.state)

    def _wanted(self, call: CallRecord, state: CallState, said: str, why: str) -> CallRecord:
        told = f"{said}: {why}" if why else said
        return replace(call, state=state, why=told, at=self._clock(), request=None, unsure=False)

    async def _decide(self, offered: Offered, wanted: CallRecord) -> CallRecord:
        before = self._book.get(wanted.call)
        with confirmed(wanted.call):
            await self._writer.write_decision(offered.calls, wanted)
        found = await self._settled(wanted, before.state if before else "")
        if found.is_over and found.state not in (wanted.state, "in_doubt"):
            raise _too_late(found)
        return found

    async def _settled(self, call: CallRecord, state: str) -> CallRecord:
        """The call once a worker has said another thing of it, or as it is after a moment."""
        loop = asyncio.get_running_loop()
        until = loop.time() + SETTLED
        # Not the next record alone: that may say what the call waits for, and no end of it.
        while (found := self._book.get(call.call)) is not None and found.state == state:
            if (left := until - loop.time()) <= 0:
                break
            await self._book.wait_change(call.call, left)
        return found or call


def may_decide(client: Client, call: CallRecord, offered: Offered) -> bool:
    """Whether a call of somebody else's is a client's matter, who may see it then."""
    approves = bool(offered.policy.approve) and offered.policy.approve in client.roles
    return approves or client.may_resolve(offered.system, offered.name)


def right_to_decide(verb: str, client: Client, call: CallRecord, offered: Offered) -> str:
    """By which right a client decides so of a call: a role, a pattern, or ``own``; "" for none."""
    role = offered.policy.approve if offered.policy.approve in client.roles else ""
    pattern = client.right_to("resolve", f"{offered.system}/{offered.name}")
    if verb == "approve":
        return role
    if verb == "cancel":
        return "own" if call.client == client.name else role or pattern
    return pattern


def _require_resolve(client: Client, offered: Offered) -> None:
    if not client.may_resolve(offered.system, offered.name):
        right = f"resolve {offered.system}/{offered.name}"
        raise Problem("forbidden", f"{client.name} needs the right to {right}", permission=right)


def _too_late(call: CallRecord) -> Problem:
    return Problem("too-late", f"it is {call.state}", call=call.call, state=call.state)


def _request(call: CallRecord) -> bytes:
    try:
        found = base64.b64decode(call.request or "", validate=True)
    except binascii.Error:
        _gone(call)
    return found or _gone(call)


def _gone(call: CallRecord) -> NoReturn:
    raise Problem(
        "too-late",
        "the request was too large to be kept here: an operator sends its dead letter again",
        call=call.call,
        state=call.state,
    )


def _why(body: Any) -> str:
    if body is None:
        return ""
    why = body.get("why", "") if isinstance(body, dict) else None
    if not isinstance(why, str) or len(why) > MAX_WHY:
        raise Problem("not-acceptable", f"write an object; its why is up to {MAX_WHY} characters")
    return why
