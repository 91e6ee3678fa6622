"""OAuth 2 client credentials: tokens are asked for, renewed, and never shown; on real servers."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from aiohttp import web

from http_api import Item, api, events
from trunkline.connectors.http import ClientCredentials, HttpSink
from trunkline.errors import DeliveryError, Unavailable
from trunkline.params import Secret


class Guarded:
    """An API and its token endpoint; tokens are good for so many requests each."""

    def __init__(self, *, good_for: int = 1000, lasts: Any = 3600, token_status: int = 200) -> None:
        self.good_for = good_for
        self.lasts = lasts
        self.token_status = token_status
        self.asked: list[tuple[str, str]] = []
        self.used: list[str] = []

    async def __call__(self, request: web.Request) -> web.Response:
        if request.path == "/token":
            self.asked.append((request.headers.get("Authorization", ""), await request.text()))
            if self.token_status != 200:
                reason = {"error": "invalid_client", "hint": "s3cret"}
                return web.json_response(reason, status=self.token_status)
            token = f"t{len(self.asked)}"
            return web.json_response({"access_token": token, "expires_in": self.lasts})
        token = request.headers["Authorization"].removeprefix("Bearer ")
        if self.used.count(token) >= self.good_for:
            return web.Response(status=401, text=f"{token} has expired")
        self.used.append(token)
        return web.Response()


def authorized(system: Guarded, calls: int, **options: Any) -> list[DeliveryError | None]:
    async def run() -> list[DeliveryError | None]:
        found: list[DeliveryError | None] = []
        async with api(system) as url:
            oauth = ClientCredentials(f"{url}/token", "me", Secret("s3cret"), **options)
            sink: HttpSink[Item] = HttpSink(url, Item, oauth=oauth)
            await sink.open()
            for event in events(*(f"e{number}" for number in range(calls))):
                try:
                    await sink.deliver([event])
                    found.append(None)
                except DeliveryError as error:
                    found.append(error)
            await sink.close()
        return found

    return asyncio.run(run())


def test_one_token_serves_many_requests() -> None:
    system = Guarded()
    assert authorized(system, 5) == [None] * 5
    basic = "Basic " + base64.b64encode(b"me:s3cret").decode()
    assert system.asked == [(basic, "grant_type=client_credentials")]
    assert system.used == ["t1"] * 5


def test_id_and_secret_can_go_in_the_body() -> None:
    system = Guarded()
    authorized(system, 1, auth="body", scope="orders", audience="erp")
    ((authorization, body),) = system.asked
    assert authorization == ""
    assert set(body.split("&")) == {
        "grant_type=client_credentials",
        "scope=orders",
        "audience=erp",
        "client_id=me",
        "client_secret=s3cret",
    }


def test_a_token_is_renewed_before_it_ends() -> None:
    system = Guarded(lasts=1e-9)
    assert authorized(system, 3) == [None] * 3
    assert system.used == ["t1", "t2", "t3"]


@pytest.mark.parametrize("lasts", ["3600", None, "soon", -1, 1e300, float("1e15")])
def test_any_time_that_an_endpoint_names_is_bounded(lasts: Any) -> None:
    system = Guarded(lasts=lasts)
    for error in authorized(system, 2):
        assert error is None or isinstance(error, Unavailable)


def test_a_token_that_is_refused_is_renewed_once() -> None:
    system = Guarded(good_for=2)
    assert authorized(system, 5) == [None] * 5
    assert system.used == ["t1", "t1", "t2", "t2", "t3"]


def test_a_new_token_that_is_refused_is_no_event_s_fault() -> None:
    system = Guarded(good_for=0)
    (error,) = authorized(system, 1)
    assert isinstance(error, Unavailable)
    assert len(system.asked) == 2
    assert "t2" not in str(error)


@pytest.mark.parametrize("status", [400, 401, 500, 302])
def test_without_a_token_nothing_is_sent_and_nothing_is_lost(status: int) -> None:
    system = Guarded(token_status=status)
    (error,) = authorized(system, 1)
    assert isinstance(error, Unavailable)
    assert "invalid_client" in str(error)
    assert "s3cret" not in str(error)
    assert system.used == []
