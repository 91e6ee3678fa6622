"""Notices through real HTTP and SMTP servers, and what becomes of them while these fail."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from typer.testing import CliRunner

from trunkline.cli import app
from trunkline.local.ports import free_port
from trunkline.params import Secret
from trunkline.streams.alerts.channels import Channel, ChannelError, Slack, Smtp, Webhook
from trunkline.streams.alerts.notification import Notification, Subject
from trunkline.streams.alerts.outbox import Outbox

AT = 1_700_000_000.0
TEXT = """\
FIRING orders.warehouse: 3 events dead-lettered
flow orders, destination warehouse
since 2023-11-14T22:13:20.000+00:00 (1 min)
newest error: Rejected: no <article> & no price
to look: trunkline dlq group orders.warehouse"""


def notification(number: int = 1, error: str = "Rejected: no <article> & no price") -> Notification:
    subject = Subject("orders", "deliver", "warehouse", "dead_letters")
    what = "3 events dead-lettered"
    return Notification(subject, "firing", "orders/7", number, AT, AT + 60, 3, what, error)


class Receiver:
    """An HTTP server that keeps what it gets. ``answers``: statuses to answer first."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.bodies: list[bytes] = []
        self.headers: list[Any] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.answers:
            return web.Response(status=self.answers.pop(0), text="not now")
        self.bodies.append(body)
        self.headers.append(request.headers)
        return web.Response(status=204)


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    receiver, app = Receiver(), web.Application()
    app.router.add_post("/{path:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/services/T0/hush"
    try:
        yield receiver
    finally:
        await runner.cleanup()


def webhook(url: str, token: str | None = None, secret: str | None = None) -> Webhook:
    return Webhook(
        Secret(url),
        token=Secret(token) if token else None,
        secret=Secret(secret) if secret else None,
    )


def test_a_webhook_gets_json_that_is_signed() -> None:
    async def run() -> Receiver:
        async with receiver() as there:
            await webhook(there.url, "hush", "key").send(notification())
            return there

    there = asyncio.run(run())
    (body,), (headers,) = there.bodies, there.headers
    assert json.loads(body) == {
        "id": "orders/7",
        "number": 1,
        "state": "firing",
        "alert": "dead_letters",
        "flow": "orders",
        "step": "deliver",
        "name": "warehouse",
        "what": "3 events dead-lettered",
        "amount": 3,
        "since": "2023-11-14T22:13:20.000+00:00",
        "at": "2023-11-14T22:14:20.000+00:00",
        "error": "Rejected: no <article> & no price",
        "command": "trunkline dlq group orders.warehouse",
        "text": TEXT,
    }
    signed = hmac.new(b"key", body, hashlib.sha256).hexdigest()
    assert headers["X-Trunkline-Signature"] == f"sha256={signed}"
    assert headers["Authorization"] == "Bearer hush"
    assert headers["Idempotency-Key"] == "orders/7/1"


def test_slack_gets_text_that_it_does_not_take_for_markup() -> None:
    async def run() -> Receiver:
        async with receiver() as there:
            await Slack(Secret(there.url)).send(notification())
            return there

    text = json.loads(asyncio.run(run()).bodies[0])["text"]
    assert text == TEXT.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@pytest.mark.parametrize("status", [302, 400, 404, 503])
def test_an_answer_that_is_no_success_is_a_failure_without_the_secret_address(status: int) -> None:
    async def run() -> None:
        async with receiver() as there:
            there.answers = [status]
            await Slack(Secret(there.url)).send(notification())

    with pytest.raises(ChannelError, match=f"it answered {status}: 'not now'") as caught:
        asyncio.run(run())
    assert "hush" not in str(caught.value)


def test_a_server_that_is_not_there() -> None:
    channel = webhook(f"http://127.0.0.1:{free_port()}/hush")
    with pytest.raises(ChannelError, match="ConnectError") as caught:
        asyncio.run(channel.send(notification()))
    assert "hush" not in str(caught.value)


class Mailbox:
    """What a mail server took."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("gone"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        return "250 taken"


def _right(server: SMTP, session: Session, envelope: Envelope, how: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"us", b"hush")
    return AuthResult(success=right, handled=False)  # the server answers


@contextmanager
def mail_server(certificate: Path | None = None) -> Iterator[tuple[int, Mailbox]]:
    """A mail server; with a certificate it asks for STARTTLS and a password."""
    box, more = Mailbox(), {}
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        more = {
            "tls_context": context,
            "require_starttls": True,
            "auth_required": True,
            "authenticator": _right,
        }
    server = Controller(box, hostname="127.0.0.1", port=free_port(), **more)
    server.start()
    try:
        yield server.port, box
    finally:
        server.stop()


def smtp(port: int, *to: str, **more: Any) -> Smtp:
    return Smtp("127.0.0.1", port, sender="trunkline@example.com", to=to, **more)


def test_an_e_mail_is_urgent_and_says_it_all() -> None:
    with mail_server() as (port, box):
        asyncio.run(
            smtp(port, "a@example.com", "b@example.com", starttls=False).send(notification())
        )
    (envelope,) = box.envelopes
    assert envelope.rcpt_tos == ["a@example.com", "b@example.com"]
    assert isinstance(envelope.content, bytes)
    mail = message_from_bytes(envelope.content, policy=policy.default)
    assert mail["Subject"] == "[trunkline] FIRING orders.warehouse: 3 events dead-lettered"
    assert (mail["From"], mail["To"]) == ("trunkline@example.com", "a@example.com, b@example.com")
    assert (mail["X-Priority"], mail["Importance"]) == ("1", "high")
    body = mail.get_body()
    assert body is not None
    assert body.get_content().splitlines() == TEXT.splitlines()


def test_an_error_of_several_lines_and_letters_is_no_danger_to_the_mail() -> None:
    with mail_server() as (port, box):
        strange = notification(error="Rejected: naïve\r\nBcc: x@example.com\n.\n✓")
        asyncio.run(smtp(port, "a@example.com", starttls=False).send(strange))
    assert box.envelopes[0].rcpt_tos == ["a@example.com"]


def test_a_mail_server_that_wants_encryption_and_a_password(certificate: Path) -> None:
    context = ssl.create_default_context(cafile=str(certificate))
    with mail_server(certificate) as (port, box):
        ours = smtp(port, "a@example.com", user="us", password=Secret("hush"), context=context)
        asyncio.run(ours.send(notification()))
        assert len(box.envelopes) == 1
        wrong = smtp(port, "a@example.com", user="us", password=Secret("no"), context=context)
        with pytest.raises(ChannelError, match="535"):
            asyncio.run(wrong.send(notification()))


def test_a_mail_server_that_cannot_encrypt_gets_nothing() -> None:
    with mail_server() as (port, box):
        with pytest.raises(ChannelError, match="STARTTLS"):
            asyncio.run(
                smtp(port, "a@example.com", user="us", password=Secret("h")).send(notification())
            )
        assert box.envelopes == []


def test_one_address_that_is_gone_does_not_keep_the_others_from_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with mail_server() as (port, box):
        channel = smtp(port, "gone@example.com", "b@example.com", starttls=False)
        asyncio.run(channel.send(notification()))
    assert box.envelopes[0].rcpt_tos == ["b@example.com"]
    assert "refused gone@example.com" in caplog.text


def test_the_command_sends_a_test_through_every_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("environments").mkdir()
    with mail_server() as (port, box):
        Path("environments/prod.toml").write_text(
            f'[alerts]\nsmtp = {{ host = "127.0.0.1", port = {port}, starttls = false, '
            'from = "us@example.com", to = ["you@example.com"] }\n'
        )
        done = CliRunner().invoke(app, ["alert", "test", "--env", "prod"])
    assert (done.exit_code, done.output) == (0, "smtp: sent\n")
    assert b"TEST example.warehouse: this is a test" in (box.envelopes[0].content or b"")


def test_a_notification_waits_for_its_channel_in_order_and_is_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> tuple[Receiver, list[int]]:
        sent: list[int] = []
        async with receiver() as there:
            there.answers = [503, 500, 404]
            outbox = Outbox([webhook(there.url)], first=0.001)
            outbox.start()
            for number in (1, 2):
                outbox.post(notification(number), lambda number=number: sent.append(number))
            await outbox.stop(grace=30)
            return there, sent

    there, sent = asyncio.run(run())
    assert [json.loads(body)["number"] for body in there.bodies] == sent == [1, 2]
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert sum("is not sent by webhook yet" in line for line in errors) == 3
    assert sum("3 events dead-lettered; flow orders" in line for line in errors) == 2


class Odd:
    """A channel with a mistake in it."""

    name = "odd"
    attempts = 0

    async def send(self, notification: Notification) -> None:
        self.attempts += 1
        if self.attempts < 3:
            raise ZeroDivisionError


def test_a_mistake_in_a_channel_loses_nothing() -> None:
    async def run() -> list[str]:
        sent: list[str] = []
        channel: Channel = Odd()
        outbox = Outbox([channel], first=0.001)
        outbox.start()
        outbox.post(notification(), lambda: sent.append("sent"))
        await outbox.stop(grace=30)
        return sent

    assert asyncio.run(run()) == ["sent"]


def test_what_cannot_be_sent_before_the_end_is_not_told() -> None:
    async def run() -> list[str]:
        sent: list[str] = []
        outbox = Outbox([webhook(f"http://127.0.0.1:{free_port()}")], first=60)
        outbox.start()
        outbox.post(notification(), lambda: sent.append("sent"))
        await outbox.stop(grace=0.2)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return sent

    assert asyncio.run(run()) == []
