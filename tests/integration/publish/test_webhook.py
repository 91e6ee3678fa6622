"""WebhookSource: signatures, ids, refusals, on a real socket."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
from collections.abc import Sequence
from typing import Any

import aiohttp
import orjson
import pytest

from trunkline.connectors.webhook import WebhookSource
from trunkline.errors import ConfigurationError, DataError, SourceError
from trunkline.event import Record
from trunkline.params import Secret

TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


class Outcome:
    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.texts: list[str] = []
        self.headers: list[Any] = []
        self.records: list[Record] = []

    @property
    def status(self) -> int:
        (status,) = self.statuses
        return status

    @property
    def ids(self) -> list[str]:
        return [record.id for record in self.records]


def posted(
    *bodies: Any,
    headers: dict[str, str] | None = None,
    method: str = "POST",
    fail: bool = False,
    odd: bool = False,
    **options: Any,
) -> Outcome:
    """What becomes of these bodies (bytes, or values to send as JSON)."""
    outcome = Outcome()

    async def publish(records: Sequence[Record]) -> None:
        if fail:
            raise ConnectionError("the broker is down")
        if odd:
            raise DataError("'7' cannot be taken: Order.at wants a time")
        outcome.records += records

    async def test() -> None:
        source = WebhookSource(port=0, **{"key": "id", **options})
        await source.start(publish)
        async with aiohttp.ClientSession() as session:
            for body in bodies:
                data = body if isinstance(body, bytes) else orjson.dumps(body)
                url = f"http://127.0.0.1:{source.port}{source.path}"
                async with session.request(method, url, data=data, headers=headers) as answer:
                    outcome.statuses.append(answer.status)
                    outcome.headers.append(answer.headers)
                    outcome.texts.append(await answer.text())
        await source.stop()

    asyncio.run(test())
    return outcome


def signed(body: bytes, secret: str) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def test_an_object_is_one_record() -> None:
    outcome = posted({"id": 7, "name": "bolt"}, headers={"traceparent": TRACE}, stream="parts")
    assert outcome.status == 202
    (record,) = outcome.records
    assert (record.key, record.data) == ("7", {"id": 7, "name": "bolt"})
    assert (record.stream, record.change, record.traceparent) == ("parts", "create", TRACE)


def test_a_wrong_trace_is_not_passed_on() -> None:
    (record,) = posted({"id": 7}, headers={"traceparent": "evil"}).records
    assert record.traceparent == ""


def test_what_the_flow_refuses_is_422_with_the_reason_if_it_is_asked_for() -> None:
    assert [WebhookSource(port=0, key="id", refuse=it).refuses for it in (True, False)] == [
        True,
        False,
    ]
    outcome = posted({"id": 7}, odd=True, refuse=True)
    assert (outcome.status, outcome.records) == (422, [])
    assert orjson.loads(outcome.texts[0]) == {"error": "'7' cannot be taken: Order.at wants a time"}


def test_an_array_is_acknowledged_as_a_whole() -> None:
    outcome = posted([{"id": "a"}, {"id": "b"}])
    assert outcome.status == 202
    assert [record.key for record in outcome.records] == ["a", "b"]
    refused = posted([{"id": "a"}, {"name": "no id"}])
    assert (refused.status, refused.records) == (422, [])


@pytest.mark.parametrize(
    ("key", "body", "expected"),
    [
        ("id", {"id": "x"}, "x"),
        ("/order/id", {"order": {"id": 5}}, "5"),
        ("/lines/0/sku", {"lines": [{"sku": "s"}]}, "s"),
        ("/a~1b/~0", {"a/b": {"~": "escaped"}}, "escaped"),
        (lambda body: body["x"] + body["y"], {"x": "1", "y": "2"}, "12"),
    ],
)
def test_keys(key: Any, body: Any, expected: str) -> None:
    assert [record.key for record in posted(body, key=key).records] == [expected]


@pytest.mark.parametrize("body", [{}, {"id": None}, {"id": ""}, {"id": True}, {"id": {"a": 1}}])
def test_without_a_key_it_is_422(body: Any) -> None:
    outcome = posted(body)
    assert outcome.status == 422
    assert outcome.records == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b'["a"]', b"\xff", b"null"])
def test_what_is_no_json_object_is_400(body: bytes) -> None:
    outcome = posted(body)
    assert outcome.status == 400
    assert outcome.records == []


def test_too_large_is_413() -> None:
    outcome = posted({"id": "x" * 5000}, max_body=1000)
    assert outcome.status == 413
    assert outcome.records == []


def test_only_post_is_accepted() -> None:
    assert posted({"id": 1}, method="PUT").status == 405


def test_a_signed_body_is_accepted() -> None:
    body = b'{"id":1}'
    right = {"X-Hub-Signature-256": signed(body, "s3cret")}
    assert posted(body, secret=Secret("s3cret"), headers=right).status == 202
    mine = {"X-Sign": signed(body, "s3cret")}
    assert posted(body, secret="s3cret", signature_header="X-Sign", headers=mine).status == 202


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"X-Hub-Signature-256": ""},
        {"X-Hub-Signature-256": "sha256="},
        {"X-Hub-Signature-256": signed(b'{"id":1}', "other")},
        {"X-Hub-Signature-256": signed(b'{"id":2}', "s3cret")},
        {"X-Hub-Signature-256": "sha256=é"},
    ],
)
def test_a_wrong_signature_is_401(header: dict[str, str]) -> None:
    outcome = posted(b'{"id":1}', secret="s3cret", headers=header)
    assert outcome.status == 401
    assert outcome.records == []
    assert "s3cret" not in outcome.texts[0]


def test_tokens() -> None:
    def status(authorization: str) -> int:
        return posted({"id": 1}, token="abc", headers={"Authorization": authorization}).status

    assert status("Bearer abc") == 202
    assert [status("Bearer abd"), status("abc"), status("")] == [401, 401, 401]


def test_secret_and_token_must_both_be_right() -> None:
    body = b'{"id":1}'
    signature = {"X-Hub-Signature-256": signed(body, "s3cret")}
    outcome = posted(body, secret="s3cret", token="abc", headers=signature)
    assert outcome.status == 401


def test_kafka_down_is_503_with_retry_after() -> None:
    outcome = posted({"id": 1}, fail=True)
    assert outcome.status == 503
    assert int(outcome.headers[0]["Retry-After"]) > 0


@pytest.mark.parametrize("name", ["Idempotency-Key", "webhook-id"])
def test_the_id_is_the_callers(name: str) -> None:
    assert posted({"id": 1}, headers={name: "m-1"}).ids == ["m-1"]


def test_without_an_id_each_call_is_an_event_of_its_own() -> None:
    """Two equal bodies may be two payments."""
    equal = {"id": 1, "cents": 100}
    assert len(set(posted(equal, equal, [equal, equal]).ids)) == 4


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64, 10**20 + 1, -(2**64) - 1, 10**300])
def test_long_numbers_stay_exact(number: int) -> None:
    bodies = [b'{"id":%d,"n":[%d]}' % (n, n) for n in (number, number + 1)]
    outcome = posted(*bodies)
    assert [record.key for record in outcome.records] == [str(number), str(number + 1)]
    assert [record.data["n"] for record in outcome.records] == [[number], [number + 1]]
    assert len(set(outcome.ids)) == 2


@pytest.mark.parametrize("text", [b"1e20", b"12345678901234567890.5", b"1e300"])
def test_a_key_that_a_float_cannot_hold_is_422(text: bytes) -> None:
    outcome = posted(b'{"id":' + text + b"}")
    assert outcome.status == 422
    assert "as text" in outcome.texts[0]


@pytest.mark.parametrize(
    "body",
    [b'{"id":1e400}', b'{"id":NaN}', b"[" * 5000 + b"1" * 19, b'{"id":' + b"9" * 5000 + b"}"],
)
def test_numbers_and_nesting_beyond_bounds_are_refused(body: bytes) -> None:
    outcome = posted(body)
    assert outcome.status == 400
    assert not outcome.records


def test_the_id_from_a_named_header_or_field() -> None:
    assert posted({"id": 1}, id="X-Delivery", headers={"X-Delivery": "d"}).ids == ["d"]
    assert posted({"id": 1, "meta": {"uid": "u"}}, id="/meta/uid").ids == ["u"]
    assert posted({"id": 1}, id="X-Delivery").status == 422
    assert posted({"id": 1}, id="/meta/uid").status == 422


@pytest.mark.parametrize("headers", [None, {"webhook-id": "m"}], ids=["no id", "an id"])
@pytest.mark.parametrize(("deep", "status"), [(200, 202), (300, 202), (1_000, 202), (1_025, 400)])
def test_how_deep_a_body_may_be_does_not_depend_on_its_id(
    headers: dict[str, str] | None, deep: int, status: int
) -> None:
    body = b'{"id":1,"deep":' + b"[" * deep + b"]" * deep + b"}"
    assert posted(body, headers=headers).status == status


def test_each_object_of_an_array_has_its_own_stable_id() -> None:
    body = [{"id": 1, "uid": "a"}, {"id": 1, "uid": "b"}]
    first, second, again, _ = posted(body, body, headers={"webhook-id": "m"}).ids
    assert first != second
    assert first == again
    others = [
        *posted(body, headers={"webhook-id": "m-0"}).ids,
        *posted({"id": 1}, headers={"webhook-id": first}).ids,
    ]
    assert {first, second}.isdisjoint(others), "no other request's header can spell such an id"
    assert posted(body, id="/uid").ids == ["a", "b"]


def test_a_taken_port_is_a_source_error() -> None:
    async def publish(records: Sequence[Record]) -> None: ...

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SourceError, match=str(port)):
            asyncio.run(WebhookSource(port=port, key="id").start(publish))


def test_an_endpoint_that_is_open_to_everybody_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="open to everybody"):
        WebhookSource(host="0.0.0.0", port=0, key="id")
    WebhookSource(host="0.0.0.0", port=0, key="id", token="t")


def test_an_empty_secret_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="token= is empty"):
        WebhookSource(port=0, key="id", token=Secret(""))
    with pytest.raises(ConfigurationError, match="secret= is empty"):
        WebhookSource(port=0, key="id", secret="")
