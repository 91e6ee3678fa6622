"""The channels that carry notifications to people: webhook, Slack, e-mail."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from typing import Protocol

import httpx
import orjson

from trunkline.errors import TrunklineError
from trunkline.masking import MAX_SECRET, concealed, secrets_of_url
from trunkline.params import Secret
from trunkline.streams.alerts.notification import Notification

log = logging.getLogger(__name__)

ATTEMPT_TIMEOUT = 10.0
"""Seconds that one attempt may take."""

SHOWN = 200
"""Characters of an answer that stand in an error."""
LONG = 12
"""Characters of a path's part that nobody would think of as a name."""
SIGNATURE = "X-Trunkline-Signature"


class ChannelError(TrunklineError):
    """A channel did not take a notification; the message says why, without secrets."""


class Channel(Protocol):
    """A way to people. ``name`` is for logs and shows no secret."""

    name: str

    async def send(self, notification: Notification) -> None:
        """Returns when the other side has taken it. Raises ChannelError."""


class _Http(Channel):
    """A POST of JSON; anything but 2xx is a failure. Redirects are not followed: they would
    take the secrets elsewhere."""

    def __init__(self, name: str, url: Secret, *more: Secret | None) -> None:
        """``more``: what else no error may show, though an answer may repeat it."""
        self.name = name
        self._url = url
        self._secrets = [*_secrets_in(url.reveal()), *(one.reveal() for one in more if one)]
        self._tls = ssl.create_default_context()  # as slow as a hundred requests: once

    async def _post(self, body: bytes, headers: dict[str, str]) -> None:
        headers = {"Content-Type": "application/json", **headers}
        try:
            async with httpx.AsyncClient(timeout=ATTEMPT_TIMEOUT, verify=self._tls) as client:
                answer = await client.post(self._url.reveal(), content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            told = concealed(f"{type(error).__name__}: {error}", self._secrets)
            raise ChannelError(told) from None
        if not answer.is_success:
            said = concealed(answer.text[: SHOWN + MAX_SECRET], self._secrets)[:SHOWN]
            raise ChannelError(f"it answered {answer.status_code}: {said!r}")


def _secrets_in(url: str) -> list[str]:
    """What is secret in a hook's address: all of it, and in the answer "no such hook: /T0/B0/…" the
    path alone, or its longest part."""
    parsed = httpx.URL(url)
    path, values = parsed.raw_path.decode(), [value for _, value in parsed.params.multi_items()]
    long = [part for part in parsed.path.split("/") if len(part) >= LONG]
    return [url, *([path] if len(path) >= LONG else []), *long, *values, *secrets_of_url(url)]


class Webhook(_Http):
    """A notification as JSON, by POST.

    ``token``: sent as ``Authorization: Bearer``. ``secret``: signs the body, as GitHub's hooks
    do: ``X-Trunkline-Signature: sha256=<hex of HMAC-SHA256>``. ``Idempotency-Key`` is the same
    in each attempt of one notification.
    """

    def __init__(self, url: Secret, *, token: Secret | None, secret: Secret | None) -> None:
        super().__init__("webhook", url, token, secret)
        self._token = token
        self._secret = secret

    async def send(self, notification: Notification) -> None:
        body = orjson.dumps(notification.to_json())
        headers = {"Idempotency-Key": f"{notification.id}/{notification.number}"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.reveal()}"
        if self._secret is not None:
            signed = hmac.new(self._secret.reveal().encode(), body, hashlib.sha256)
            headers[SIGNATURE] = f"sha256={signed.hexdigest()}"
        await self._post(body, headers)


class Slack(_Http):
    """``{"text": …}``, as Slack's incoming webhooks take it, and Mattermost's and others'."""

    def __init__(self, url: Secret) -> None:
        super().__init__("slack", url)

    async def send(self, notification: Notification) -> None:
        # What Slack would read as mark-up: https://api.slack.com/reference/surfaces/formatting
        text = notification.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        await self._post(orjson.dumps({"text": text}), {})


class Smtp(Channel):
    """An e-mail of high priority. ``starttls``: encrypt, and refuse a server that cannot;
    ``tls``: encrypted from the first byte (port 465)."""

    name = "smtp"

    def __init__(
        self,
        host: str,
        port: int,
        *,
        sender: str,
        to: Sequence[str],
        starttls: bool = True,
        tls: bool = False,
        user: str = "",
        password: Secret | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._host, self._port = host, port
        self._sender, self._to = sender, tuple(to)
        self._starttls, self._tls = starttls and not tls, tls
        self._user, self._password = user, password
        self._context = context or ssl.create_default_context()

    async def send(self, notification: Notification) -> None:
        try:
            await asyncio.to_thread(self._send, self._mail(notification))
        except (smtplib.SMTPException, OSError) as error:
            secrets = [self._password.reveal()] if self._password else []
            told = concealed(f"{type(error).__name__}: {error}", secrets)
            raise ChannelError(told) from None

    def _send(self, mail: EmailMessage) -> None:
        with self._connected() as server:
            if self._starttls:
                server.starttls(context=self._context)
            if self._user:
                server.login(self._user, self._password.reveal() if self._password else "")
            for address, reason in server.send_message(mail).items():
                log.error(
                    "the mail server refused %s, of several that get alerts: %s", address, reason
                )

    def _connected(self) -> smtplib.SMTP:
        if self._tls:
            return smtplib.SMTP_SSL(
                self._host, self._port, timeout=ATTEMPT_TIMEOUT, context=self._context
            )
        return smtplib.SMTP(self._host, self._port, timeout=ATTEMPT_TIMEOUT)

    def _mail(self, notification: Notification) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"] = " ".join(f"[trunkline] {notification.headline}".split())
        mail["From"] = self._sender
        mail["To"] = ", ".join(self._to)
        mail["X-Priority"] = "1"
        mail["Importance"] = "high"
        # One conversation an episode, in the mail programs that show them.
        mail["References"] = (
            f"<{hashlib.sha256(notification.id.encode()).hexdigest()[:32]}@trunkline>"
        )
        mail.set_content(notification.text)
        return mail
