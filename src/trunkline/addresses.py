"""Addresses of Kafka and of a schema registry, as people write them: what is wrong with one, before
anybody connects. Nothing here shows an address: it may hold a password."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

_BROKER = re.compile(
    r"(?:(?:PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)://)?"
    r"(?:\[[0-9A-F:.%]+\]|[^\s\[\]:/@,]+)"
    r"(?::(?P<port>\d{1,5}))?",
    re.IGNORECASE,
)
"""What librdkafka takes; of anything else it makes a host that is unknown, or another port: of
``h:99999`` it made 34463."""


def objection_to_brokers(text: str) -> str:
    """Why this is no list of Kafka's addresses, and what one is; "" if it is."""
    for one in text.split(","):
        match = _BROKER.fullmatch(one.strip())
        if match is None or not 0 < int(match["port"] or 9092) < 65536:
            return "write host:port, as kafka-1:9092, several with commas; an IPv6 host as [::1]"
    return ""


def objection_to_registry(text: str) -> str:
    """Why this is no list of a registry's addresses, and what one is; "" if it is."""
    if all(_is_url(one.strip()) for one in text.split(",")):
        return ""
    return (
        "write http://HOST:PORT, several with commas; a password's own / ? # @ are written "
        "%2F %3F %23 %40 (or set the password apart)"
    )


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port  # raises for 99999 and abc
    except ValueError:
        return False
    in_web = parts.scheme in ("http", "https") and bool(parts.hostname)
    # http://u:12/34@h would be the host u, its port 12.
    return in_web and port != 0 and "@" not in parts.path + parts.query + parts.fragment


def _without(objection: Callable[[str], str]) -> AfterValidator:
    def checked(text: str) -> str:
        if wrong := objection(text):
            raise ValueError(wrong)
        return text

    return AfterValidator(checked)


KafkaAddresses = Annotated[str, _without(objection_to_brokers)]
"""The type of a field that holds Kafka's addresses."""
RegistryAddresses = Annotated[str, _without(objection_to_registry)]
"""The type of a field that holds a registry's addresses."""
