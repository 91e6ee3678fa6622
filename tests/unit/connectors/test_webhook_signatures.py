"""Signatures as those who send webhooks document them, with their own examples."""

from __future__ import annotations

import base64
import hashlib
import hmac
from types import SimpleNamespace
from typing import Any

import pytest

from trunkline.connectors.webhook import Signature, WebhookSource
from trunkline.connectors.webhook.replays import TakenMessages
from trunkline.connectors.webhook.signatures import MOST_SIGNATURES, Signed, Verifier
from trunkline.errors import ConfigurationError, DataError
from trunkline.params import Secret

NOW = 1_800_000_000


def shown(form: Signature, headers: dict[str, str], *bodies: bytes, now: int = NOW) -> Any:
    return Verifier(form, lambda: float(now)).verify(headers, bodies)


def mac(secret: str, content: bytes) -> bytes:
    return hmac.new(secret.encode(), content, hashlib.sha256).digest()


# The examples that their documentation has.

SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmib"
    b"IGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)


def test_githubs_example() -> None:
    form = Signature.github("It's a Secret to Everybody")
    right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert shown(form, {form.header: right}, b"Hello, World!") is not None
    assert shown(form, {form.header: right}, b"Hello, World") is None


def test_slacks_example() -> None:
    form = Signature.slack("8f742231b10e8888abcd99yyyzzz85a5")
    headers = {
        "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        "X-Slack-Request-Timestamp": "1531420618",
    }
    signed = shown(form, headers, SLACK_BODY, now=1531420618)
    assert isinstance(signed, Signed)
    assert signed.time == 1531420618
    headers["X-Slack-Request-Timestamp"] = "1531420619"
    assert shown(form, headers, SLACK_BODY, now=1531420618) is None


def test_standard_webhooks_example() -> None:
    form = Signature.standard(Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v2,x",
    }
    body = b'{"test": 2432232314}'
    assert shown(form, headers, body, now=1614265330).id == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert shown(form, {**headers, "webhook-id": "other"}, body, now=1614265330) is None
    right = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    for wrong in ("whsec_not base64!", "whsec_", [right, "whsec_"]):
        with pytest.raises(ConfigurationError, match="whsec_"):
            Signature.standard(wrong)


def test_stripes_form_while_a_secret_is_changed() -> None:
    old, new = (mac(secret, b"%d.{}" % NOW).hex() for secret in ("old", "new"))
    header = {"Stripe-Signature": f"t={NOW},v1={old},v1={new},v0=6ffbb59b"}
    for secret in ("old", "new", ["none", "new"]):
        assert shown(Signature.stripe(secret), header, b"{}") is not None
    assert shown(Signature.stripe("none"), header, b"{}") is None
    twice = {"Stripe-Signature": f"t={NOW},t={NOW - 1},v1={new}"}
    assert shown(Signature.stripe("new"), twice, b"{}") is None
    other = {"Stripe-Signature": f"t={NOW},v0={new}"}
    assert shown(Signature.stripe("new"), other, b"{}") is None


def test_shopifys_form() -> None:
    form = Signature.shopify("hush")
    right = base64.b64encode(mac("hush", b"{}")).decode()
    assert shown(form, {form.header: right}, b"{}") is not None
    assert shown(form, {form.header: right.rstrip("=")}, b"{}") is None
    assert shown(form, {form.header: mac("hush", b"{}").hex()}, b"{}") is None


def test_a_body_may_be_signed_as_it_is_sent_or_unpacked() -> None:
    header = {"X-Hub-Signature-256": "sha256=" + mac("s", b"plain").hex()}
    assert shown(Signature.github("s"), header, b"packed", b"plain") is not None


@pytest.mark.parametrize("off", [-301, 301, -(10**9)])
def test_a_right_signature_of_another_time_is_refused(off: int) -> None:
    at = NOW + off
    header = {"Stripe-Signature": f"t={at},v1={mac('s', b'%d.{}' % at).hex()}"}
    with pytest.raises(DataError, match="more than 5m off"):
        shown(Signature.stripe("s"), header, b"{}")
    wrong = {"Stripe-Signature": f"t={at},v1={mac('x', b'%d.{}' % at).hex()}"}
    assert shown(Signature.stripe("s"), wrong, b"{}") is None, "nobody is told of clocks unproved"


@pytest.mark.parametrize("time", ["", "-1", "1e9", "١٢٣", "9" * 13, f"{NOW}.0", f" {NOW}x"])
def test_what_is_no_time(time: str) -> None:
    right = mac("s", f"v0:{time}:".encode() + b"{}").hex()
    headers = {"X-Slack-Signature": f"v0={right}", "X-Slack-Request-Timestamp": time}
    assert shown(Signature.slack("s"), headers, b"{}") is None


@pytest.mark.parametrize("given", ["", "v1=", "v1=zz", "v1=é", "v1=" + "0" * 64, ","])
def test_what_is_no_signature(given: str) -> None:
    assert shown(Signature.stripe("s"), {"Stripe-Signature": f"t={NOW},{given}"}, b"{}") is None


def test_so_many_signatures_are_looked_at_and_no_more() -> None:
    right = mac("s", b"%d.{}" % NOW).hex()

    def behind(number: int) -> dict[str, str]:
        return {"Stripe-Signature": f"t={NOW}," + "v1=00," * number + f"v1={right}"}

    assert shown(Signature.stripe("s"), behind(MOST_SIGNATURES - 1), b"{}") is not None
    assert shown(Signature.stripe("s"), behind(MOST_SIGNATURES), b"{}") is None


def test_a_form_of_ones_own() -> None:
    form = Signature(
        secret="s",
        header="X-Sign",
        encoding="base64",
        hash="sha512",
        time_header="X-At",
        content="{body}|{time}",
    )
    raw = hmac.new(b"s", b"{}|%d" % NOW, hashlib.sha512).digest()
    headers = {"X-Sign": base64.b64encode(raw).decode(), "X-At": str(NOW)}
    assert shown(form, headers, b"{}") is not None


def test_a_signed_id_names_the_message_whenever_it_is_sent() -> None:
    """Sent again it has another time: what is signed is not the same."""
    form = Signature(
        secret="s", header="X", content="{id}.{time}.{body}", time_header="X-At", id_header="X-Id"
    )
    source = WebhookSource(port=0, key="id", signature=form)
    request: Any = SimpleNamespace(headers={"X-Id": "m-1", "Idempotency-Key": "unsigned"})
    assert source._called(request, Signed(b"digest", NOW, "m-1")) == "m-1"


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": ""},
        {"secret": []},
        {"secret": ["s", Secret("")]},
        {"header": ""},
        {"encoding": "base32"},
        {"hash": "md5"},
        {"content": "{time}"},
        {"content": "{time}.{body}"},
        {"time_header": "X-At"},
        {"content": "{id}.{body}"},
        {"content": "{time}.{body}", "time_prefix": "t="},
        {"tolerance": "0s"},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="Signature"):
        Signature(**{"secret": "s", "header": "X", **wrong})


def test_secrets_are_not_shown() -> None:
    assert "hush" not in repr(Signature.stripe(Secret("hush")))


def test_messages_are_remembered_for_so_long_and_so_many() -> None:
    now = [0.0]
    taken = TakenMessages(10, lambda: now[0], most=2)
    a, b, c = (taken.name([each]) for each in "abc")
    assert taken.begin(a)
    assert not taken.begin(a), "it is under way"
    taken.end(a, taken=False)
    assert not taken.has(a)
    for name in (a, b):
        assert taken.begin(name)
        taken.end(name, taken=True)
        now[0] += 4
    assert taken.has(a)
    now[0] = 11.0
    assert (taken.has(a), taken.has(b)) == (False, True)
    for name in (a, c):
        taken.begin(name)
        taken.end(name, taken=True)
    assert [taken.has(name) for name in (a, b, c)] == [True, False, True]
    assert taken.name(["a", "b"]) != taken.name(["ab"])
