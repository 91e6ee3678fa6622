"""Tokens of an issuer at a gateway: who is let in, and what all others are answered."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import httpx
import pytest

from gateway_kit import Caller, World, order
from issuer_kit import Issuer
from worker_kit import eventually

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def issuer(world: World) -> Iterator[Issuer]:
    """An issuer that the gateways believe; its role may correct orders."""
    with Issuer() as running:
        name = f"i-{uuid.uuid4().hex[:8]}"
        with world.access.open("a") as file:
            file.write(f'\n[issuers.{name}]\nissuer = "{running.url}"\naudience = "trunkline"\n')
            file.write(
                f'roles = "realm_access.roles"\n\n[roles.{name}]\ncall = ["erp/correct_*"]\n'
            )
        running.role = name
        yield running


def test_a_token_lets_its_client_do_what_its_role_may(world: World, issuer: Issuer) -> None:
    with ExitStack() as stack:
        told(world, issuer, stack)


def told(world: World, issuer: Issuer, stack: ExitStack) -> None:
    """What the gateway answers to tokens, good and bad."""

    def bearing(token: str) -> Caller:
        caller = Caller(world.gateways[0].url, token)
        stack.callback(caller.close)
        return caller

    roles = {"roles": [issuer.role]}
    caller = bearing(issuer.token(realm_access=roles))
    id_ = uuid.uuid4().hex[:12]
    eventually(lambda: caller.get("/v1/quota").status_code == 200, "the issuer is believed")
    assert caller.post("correct_order", order(id_), key=id_).status_code == 200
    assert len(world.erp.of(id_)) == 1
    refused = caller.post("ship_order", order(id_), key=id_)
    assert (refused.status_code, refused.json()["permission"]) == (403, "erp/ship_order")
    other = bearing(issuer.token(realm_access={"roles": ["nobody"]}))
    assert other.post("correct_order", order(id_), key=id_).status_code == 403
    # A client of that name in the file would be another.
    named = caller.get("/v1/quota").json()["client"]
    assert named.endswith(":alice")
    answers = set()
    for bad in ("a.b.c", "x", issuer.token(exp=int(time.time()) - 1), issuer.token(aud="other")):
        answer = bearing(bad).get("/v1/quota")
        answers.add((answer.status_code, answer.text, answer.headers["WWW-Authenticate"]))
    assert {status for status, *_ in answers} == {401}
    assert len(answers) == 1
    # More than the head of a request may have: ended before anything is read of it.
    with suppress(httpx.TransportError):
        assert bearing("x" * 1_000_000).get("/v1/quota").status_code >= 400
    assert world.gateways[0].ready
