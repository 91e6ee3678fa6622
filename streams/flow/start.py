"""Where a flow begins in a topic that was there before it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from trunkline.errors import ConfigurationError
from trunkline.streams.flow.problems import Problem, SourceLocation
from trunkline.times import parse_moment

Start = Literal["earliest", "latest"] | datetime
"""With its first event, with what comes from the first start on, or with what was written then."""


def parse_start(text: object) -> Start:
    """The start that is written so, a moment in UTC where it names no zone. Raises
    ConfigurationError."""
    if text == "earliest":
        return "earliest"
    if text == "latest":
        return "latest"
    if isinstance(text, str) and (moment := _moment(text)) is not None:
        return moment
    raise ConfigurationError(
        f"start={text!r}: write 'earliest', 'latest' or a time, as '2026-11-01T00:00Z'"
    )


def declared_start(
    text: object, topic: str, place: SourceLocation, problems: list[Problem]
) -> Start:
    """As ``parse_start``, of a topic that is declared there; what is wrong is a problem more."""
    try:
        return parse_start(text)
    except ConfigurationError as error:
        problems.append(Problem(place, f"topic {topic}: {error}"))
        return "earliest"


def _moment(text: str) -> datetime | None:
    try:
        return parse_moment(text)
    except ConfigurationError:
        return None
