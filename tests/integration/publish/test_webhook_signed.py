"""WebhookSource: signatures with time, replays, forms and answers, on a real socket."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest

from trunkline.connectors.webhook import Signature, WebhookSource
from trunkline.errors import ConfigurationError
from trunkline.event import Record

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Caller:
    """Sends requests to a source, one after the other or at once; Kafka is ``down`` if it is."""

    def __init__(self, **options: Any) -> None:
        self.source = WebhookSource(port=0, **{"key": "id", **options})
        self.records: list[Record] = []
        self.down = False
        self.let = asyncio.Event()
        self.let.set()

    async def publish(self, records: Sequence[Record]) -> None:
        await self.let.wait()
        if self.down:
            raise ConnectionError("the broker is down")
        self.records += records

    async def __aenter__(self) -> Caller:
        await self.source.start(self.publish)
        self.session = aiohttp.ClientSession(f"http://127.0.0.1:{self.source.port}")
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.session.close()
        await self.source.stop()

    async def post(self, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        async with self.session.post("/", data=body, headers=headers) as answer:
            return answer.status, await answer.json()

    @property
    def ids(self) -> list[str]:
        return [record.id for record in self.records]


def stripe(body: bytes, at: int, secret: str = "hush") -> dict[str, str]:
    right = hmac.new(secret.encode(), b"%d.%b" % (at, body), hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={at},v1={right}"}


def slack(body: bytes, at: int) -> dict[str, str]:
    right = hmac.new(b"hush", b"v0:%d:%b" % (at, body), hashlib.sha256).hexdigest()
    return {"X-Slack-Signature": f"v0={right}", "X-Slack-Request-Timestamp": f"{at}", **FORM}


def test_an_event_of_stripe_is_taken_once_and_confirmed_each_time() -> None:
    async def test() -> None:
        now, body = int(time.time()), b'{"id":"evt_1","object":"event"}'
        async with Caller(signature=Signature.stripe("hush"), answer=200) as caller:
            assert await caller.post(body, stripe(body, now)) == (200, {"accepted": 1})
            again = 200, {"accepted": 0, "repeated": 1}
            assert await caller.post(body, stripe(body, now)) == again, "a replay"
            assert await caller.post(body, stripe(body, now + 1)) == again, "Stripe sends it again"
            assert (await caller.post(body, stripe(body, now - 400)))[0] == 401
            assert (await caller.post(body, stripe(body, now, "other")))[0] == 401
            assert (await caller.post(body, {}))[0] == 401
        assert caller.ids == ["evt_1"]

    asyncio.run(test())


def test_what_kafka_did_not_take_is_no_repeat() -> None:
    async def test() -> None:
        now, body = int(time.time()), b'{"id":"evt_1"}'
        async with Caller(signature=Signature.stripe("hush")) as caller:
            caller.down = True
            assert (await caller.post(body, stripe(body, now)))[0] == 503
            caller.down = False
            assert await caller.post(body, stripe(body, now)) == (202, {"accepted": 1})
        assert caller.ids == ["evt_1"]

    asyncio.run(test())


def test_a_message_that_comes_while_it_is_being_taken_is_sent_again() -> None:
    async def test() -> None:
        now, body = int(time.time()), b'{"id":"evt_1"}'
        async with Caller(signature=Signature.stripe("hush")) as caller:
            caller.let.clear()
            first = asyncio.ensure_future(caller.post(body, stripe(body, now)))
            answered = [asyncio.ensure_future(caller.post(body, stripe(body, now)))]
            done, _ = await asyncio.wait([first, *answered], return_when="FIRST_COMPLETED")
            assert [task.result()[0] for task in done] == [503]
            caller.let.set()
            await asyncio.wait([first, *answered])
        assert caller.ids == ["evt_1"]

    asyncio.run(test())


def test_slack_hears_its_challenge_back_and_nothing_is_published() -> None:
    """Once, when the address is entered there; also that is signed."""

    async def test() -> None:
        now, body = int(time.time()), b'{"type":"url_verification","challenge":"3eZbr","id":"x"}'
        async with Caller(signature=Signature.slack("hush")) as caller:
            assert await caller.post(body, slack(body, now)) == (200, {"challenge": "3eZbr"})
            assert (await caller.post(body, slack(b"{}", now)))[0] == 401
            event = b'{"type":"event_callback","challenge":"no","id":"E1"}'
            assert await caller.post(event, slack(event, now)) == (202, {"accepted": 1})
        assert [record.key for record in caller.records] == ["E1"]

    asyncio.run(test())


def test_a_form_of_slack_is_named_by_what_is_signed() -> None:
    async def test() -> None:
        now, body = int(time.time()), b"id=T1&text=%C3%A8+vero&tag=a&tag=b&empty="
        async with Caller(signature=Signature.slack("hush"), body="form") as caller:
            headers = slack(body, now)
            assert (await caller.post(body, headers))[1] == {"accepted": 1}
            headers["Idempotency-Key"] = "somebody's own"
            assert (await caller.post(body, headers))[1] == {"accepted": 0, "repeated": 1}
            assert (await caller.post(body, slack(body, now + 1)))[1] == {"accepted": 1}
        assert caller.records[0].data == {
            "id": "T1",
            "text": "è vero",
            "tag": ["a", "b"],
            "empty": "",
        }
        assert len(set(caller.ids)) == 2

    asyncio.run(test())


@pytest.mark.parametrize("body", [b"id", b"id=%FF", b"\xff=1", b"a=1&" * 1001 + b"id=1"])
def test_what_is_no_form_is_400(body: bytes) -> None:
    async def test() -> None:
        async with Caller(body="form") as caller:
            assert (await caller.post(body, FORM))[0] == 400
        assert not caller.records

    asyncio.run(test())


def test_shopify_signs_no_time_so_messages_are_known_by_their_id() -> None:
    async def test() -> None:
        body = b'{"id":7}'
        right = base64.b64encode(hmac.new(b"hush", body, hashlib.sha256).digest()).decode()
        headers = {"X-Shopify-Hmac-Sha256": right, "X-Shopify-Webhook-Id": "w-1"}
        async with Caller(signature=Signature.shopify("hush"), remember="1h") as caller:
            assert (await caller.post(body, headers))[1] == {"accepted": 1}
            assert (await caller.post(body, headers))[1] == {"accepted": 0, "repeated": 1}
            headers["X-Shopify-Webhook-Id"] = "w-2"
            assert (await caller.post(body, headers))[1] == {"accepted": 1}
        assert caller.ids == ["w-1", "w-2"]

    asyncio.run(test())


def test_each_object_of_an_array_has_an_id_of_what_is_signed() -> None:
    async def test() -> None:
        now, body = int(time.time()), b'[{"id":1},{"id":2}]'
        form = Signature.slack("hush")
        async with Caller(signature=form) as caller:
            assert (await caller.post(body, slack(body, now)))[1] == {"accepted": 2}
            assert (await caller.post(body, slack(body, now)))[1] == {"accepted": 0, "repeated": 2}
        assert len(set(caller.ids)) == 2

    asyncio.run(test())


@pytest.mark.parametrize(
    "wrong",
    [
        {"body": "xml"},
        {"answer": 204},
        {"secret": "a", "signature": Signature.github("b")},
        {"remember": "soon"},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        WebhookSource(port=0, key="id", **wrong)


def test_a_signature_opens_other_interfaces() -> None:
    WebhookSource(host="0.0.0.0", port=0, key="id", signature=Signature.stripe("hush"))
