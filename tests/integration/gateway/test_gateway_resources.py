"""Operations at the URLs of their resources, and requests that are shown and not made."""

from __future__ import annotations

import uuid

import httpx
import pytest

from gateway_kit import Caller, World, order

pytestmark = pytest.mark.timeout(400)


def send(caller: Caller, method: str, path: str, **more: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {caller.key}", "Idempotency-Key": uuid.uuid4().hex}
    url = f"{caller.url}/v1/systems/erp/{path}"
    return httpx.request(method, url, headers=headers, timeout=40, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "path", "reaches"),
    [
        ("PATCH", "orders/{}", ""),
        ("PUT", "orders/{}", "/hurry"),
        ("POST", "orders/{}:ship", "/ship"),
    ],
)
def test_an_operation_is_called_at_its_resource(
    world: World, method: str, path: str, reaches: str
) -> None:
    id_ = uuid.uuid4().hex[:12]
    body = {name: value for name, value in order(id_).items() if name != "id"}
    done = send(world.callers[0], method, path.format(id_), json=body)
    assert done.status_code in (200, 202), done.text
    call = f"/v1/calls/{done.headers['Trunkline-Call']}"
    told = world.callers[0].get(call, prefer="wait=20").json()
    assert told["state"] == "succeeded"
    (seen,) = world.erp.of(id_)
    assert (seen.path, seen.body["id"]) == (f"/orders/{id_}{reaches}", id_)


def test_what_a_url_and_a_body_say_must_be_the_same(world: World) -> None:
    wrong = send(world.callers[0], "PATCH", "orders/one", json=order("two"))
    assert wrong.status_code == 422
    assert wrong.json()["errors"] == [{"pointer": "#/id", "detail": "is another one in the URL"}]


def test_a_query_takes_its_fields_from_the_url(world: World) -> None:
    query = {"status": "paid", "total_cents": "5"}
    id_ = uuid.uuid4().hex[:12]
    found = send(world.callers[0], "GET", f"orders/{id_}", params=query)
    assert found.json()["system_status"] == 404
    missing = send(world.callers[0], "GET", f"orders/{id_}", params={"more": "1"})
    pointers = {error["pointer"] for error in missing.json()["errors"]}
    assert pointers == {"#/status", "#/total_cents", "#/more"}


def test_rights_and_names_hold_there_too(world: World) -> None:
    refused = send(world.stranger, "PATCH", "orders/o", json=order("o"))
    assert (refused.status_code, refused.json()["permission"]) == (403, "erp/correct_order")
    assert send(world.callers[0], "DELETE", "orders/o").status_code == 405
    nobody = Caller(world.gateways[0].url, "x")
    assert send(nobody, "PATCH", "orders/o", json=order("o")).status_code == 401
    nobody.close()


def test_a_request_is_shown_and_not_made(world: World) -> None:
    id_ = uuid.uuid4().hex[:12]
    path = f"orders/{id_}?validate_only=true"
    shown = send(world.callers[0], "PATCH", path, json=order(id_, 2**60))
    assert shown.json() == {
        "method": "PATCH",
        "path": f"/orders/{id_}",
        "headers": {},
        "body": {"id": id_, "status": "paid", "total_cents": 2**60},
    }
    assert send(world.callers[0], "PATCH", path, json={"id": id_}).status_code == 422
    assert send(world.stranger, "PATCH", path, json=order(id_)).status_code == 403
    assert world.erp.of(id_) == []
