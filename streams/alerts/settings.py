"""Whom a worker alerts: the ``[alerts]`` table of an environment, and the channels it makes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from trunkline.errors import ConfigurationError
from trunkline.params import Secret, load_table
from trunkline.streams.alerts.channels import Channel, Slack, Smtp, Webhook
from trunkline.times import parse_duration


def _is_url(value: Secret) -> Secret:
    try:
        url = httpx.URL(value.reveal())
    except httpx.InvalidURL:  # its text has the URL, which is a secret
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("write a whole address, as https://example.com/alerts")
    return value


def _is_address(value: str) -> str:
    local, _, domain = value.rpartition("@")
    if not local or not domain or not value.isprintable() or " " in value:
        raise ValueError("write an e-mail address, as on-call@example.com")
    return value


def _is_duration(value: str) -> str:
    try:
        positive = parse_duration(value) > 0
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    if not positive:
        raise ValueError("write a time above zero, as 4h")
    return value


Url = Annotated[Secret, AfterValidator(_is_url)]
Address = Annotated[str, AfterValidator(_is_address)]
_STRICT = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SmtpSettings(BaseModel):
    """A mail server and who gets alerts by e-mail."""

    model_config = _STRICT

    host: str = Field(min_length=1)
    port: int = Field(default=587, ge=1, le=65535)
    starttls: bool = True
    """Encrypt, and refuse a server that cannot."""
    tls: bool = False
    """Encrypted from the first byte, as on port 465; ``starttls`` does not count then."""
    user: str = ""
    password: Secret = Secret("")
    sender: Address = Field(alias="from")
    to: list[Address] = Field(min_length=1)

    @model_validator(mode="after")
    def _hides_the_password(self) -> Self:
        if self.user and not (self.starttls or self.tls):
            raise ValueError("a password is sent encrypted only: set starttls or tls, or no user")
        return self


class AlertSettings(BaseModel):
    """``[alerts]`` of an environment's file, and ``TRUNKLINE_ALERTS_*``."""

    model_config = _STRICT

    webhook: Url | None = None
    webhook_token: Secret | None = None
    webhook_secret: Secret | None = None
    slack: Url | None = None
    smtp: SmtpSettings | None = None
    reminder: Annotated[str, AfterValidator(_is_duration)] = "4h"
    """Time between two messages about one thing that is not over."""

    @property
    def reminder_seconds(self) -> float:
        """``reminder`` in seconds."""
        return parse_duration(self.reminder)

    def channels(self) -> list[Channel]:
        """The channels that are configured."""
        return list(self._channels())

    def _channels(self) -> Iterator[Channel]:
        if self.webhook is not None:
            yield Webhook(self.webhook, token=self.webhook_token, secret=self.webhook_secret)
        if self.slack is not None:
            yield Slack(self.slack)
        if (mail := self.smtp) is not None:
            yield Smtp(
                mail.host,
                mail.port,
                sender=mail.sender,
                to=mail.to,
                starttls=mail.starttls,
                tls=mail.tls,
                user=mail.user,
                password=mail.password,
            )


def load_alert_settings(
    file: Mapping[str, Any], *, environ: Mapping[str, str] = os.environ
) -> AlertSettings:
    """Whom to alert, from a file's ``[alerts]`` and ``TRUNKLINE_ALERTS_*`` variables, as
    ``TRUNKLINE_ALERTS_SLACK`` or ``TRUNKLINE_ALERTS_SMTP_PASSWORD``. Raises ParameterError."""
    return load_table(AlertSettings, file, "alerts", environ=environ)
