"""What an API repeats of a request stands in errors without the secrets, wherever it says it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from aiohttp import web

from http_api import delivered, events
from trunkline.connectors.http import Answer, ClientCredentials
from trunkline.errors import AddressError, DeliveryError, PartialFailure, Rejected
from trunkline.params import Secret

KEY = "k3y/of@an%api"
WAYS: dict[str, dict[str, Any]] = {
    "token": {"token": Secret(KEY)},
    "auth": {"auth": ("me", KEY)},
    "header": {"headers": {"X-Key": Secret(KEY)}},
}
PAIR = base64.b64encode(f"me:{KEY}".encode()).decode()


def told(error: DeliveryError | None) -> str:
    """All that is shown of an error."""
    assert error is not None
    failures = error.failures.values() if isinstance(error, PartialFailure) else ()
    more = "".join(f"{one} {one.cause} {one.code}" for one in failures)
    return f"{error} {error.cause} {error.code} {more}"


def sent(request: web.Request) -> str:
    """The credentials as they came."""
    return request.headers.get("X-Key") or request.headers["Authorization"].rpartition(" ")[2]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [302, 401, 422, 500, 503])
def test_in_the_body_the_code_the_reason_and_the_location(way: str, status: int) -> None:
    async def handle(request: web.Request) -> web.Response:
        said = {"error": {"code": sent(request)}, "headers": dict(request.headers)}
        location = {"Location": f"/login?was={sent(request)}"}
        return web.json_response(said, status=status, headers=location)

    shown = told(delivered(handle, events("a"), **WAYS[way]))
    assert "***" in shown
    assert not [one for one in (KEY, PAIR) if one in shown]


def test_of_one_that_is_cut_off_no_half_is_shown() -> None:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(text="x" * 495 + sent(request), status=401)

    shown = told(delivered(handle, events("a"), token=Secret(KEY)))
    assert "x" * 400 in shown
    assert "k3y" not in shown


def test_in_what_a_judge_says() -> None:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(text=f"no: {sent(request)}")

    def judge(answer: Answer) -> list[DeliveryError | None]:
        return [None, Rejected(answer.body.decode(), cause=answer.body.decode())]

    batch: dict[str, Any] = {"token": Secret(KEY), "batch": "array", "judge": judge}
    shown = told(delivered(handle, events("a", "b"), **batch))
    assert "no: ***" in shown
    assert KEY not in shown

    def reads(answer: Answer) -> None:
        answer.json()

    assert KEY not in told(delivered(handle, events("a"), token=Secret(KEY), judge=reads))


def test_a_token_endpoint_takes_no_secret_in_its_address() -> None:
    with pytest.raises(AddressError, match="take user and password out") as raised:
        ClientCredentials(f"https://me:{KEY}@login.example.com/token", "me", Secret(KEY))
    assert "k3y" not in str(raised.value)
