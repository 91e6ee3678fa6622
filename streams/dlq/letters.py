"""A dead letter as a person sees it, and which of them a request selects. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from trunkline.event import split_key
from trunkline.headers import (
    CE_ID,
    CE_TYPE,
    TL_ATTEMPT,
    TL_CAUSE,
    TL_DEAD_AT,
    TL_DEAD_FROM,
    TL_ERROR,
    TL_ERROR_CLASS,
    TL_EVENT_KEY,
    TL_STAGE,
    TL_VIOLATIONS,
)
from trunkline.kafka.messages import AnyMessage
from trunkline.masking import MAX_MASKED, mask
from trunkline.streams.dlq.causes import fingerprint
from trunkline.times import _in_utc, parse_moment


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record of a dead-letter queue: its bytes as they are, and what its headers say.

    ``partition``, ``offset``: where it is in the queue. ``written``: the record's time in Kafka.
    ``handled``: whether it is re-driven or discarded.

    Headers that are missing or make no sense show as "", 0 or ``written``. Why: a queue is a topic,
    and who writes to it by hand must not make ``trunkline dlq list`` fail for all letters.
    """

    topic: str
    partition: int
    offset: int
    written: datetime
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    handled: bool = False
    _named: dict[str, bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_named", dict(self.headers))

    @classmethod
    def of(cls, message: AnyMessage, *, handled: bool = False) -> DeadLetter:
        """The dead letter that a record is."""
        headers: Any = message.headers() or []
        return cls(
            topic=message.topic() or "",
            partition=message.partition() or 0,
            offset=message.offset() or 0,
            written=datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC),
            key=message.key(),
            value=message.value(),
            headers=headers,
            handled=handled,
        )

    def header(self, name: str) -> str:
        """The header's text, or ""; bytes that are not UTF-8 show as U+FFFD."""
        return (self._named.get(name) or b"").decode(errors="replace")

    @property
    def place(self) -> str:
        """``partition/offset``, as ``trunkline dlq show`` takes it."""
        return f"{self.partition}/{self.offset}"

    @property
    def time(self) -> datetime:
        """When it died, UTC."""
        try:
            return _in_utc(datetime.fromisoformat(self.header(TL_DEAD_AT)))
        except ValueError:
            return self.written

    @property
    def shown_key(self) -> str:
        """The key's text; ``0x…`` for bytes that are not UTF-8, "" for none."""
        return printable(self.key)

    @property
    def error(self) -> str:
        """The error's class."""
        return self.header(TL_ERROR_CLASS)

    @property
    def message(self) -> str:
        """The error's message."""
        return self.header(TL_ERROR)

    @property
    def stage(self) -> str:
        """``publish``, ``route`` or ``deliver``."""
        return self.header(TL_STAGE)

    @property
    def attempts(self) -> int:
        """How many deliveries of it failed."""
        text = self.header(TL_ATTEMPT)
        return int(text) if text.isdecimal() else 0

    @property
    def event_key(self) -> bytes | None:
        """The key of the canonical event that it was made of: its own, unless a route gave it
        another one."""
        return dict(self.headers).get(TL_EVENT_KEY) or self.key

    @property
    def came_from(self) -> str:
        """What was read when it died, ``topic/partition/offset``, or a source's stream."""
        return self.header(TL_DEAD_FROM)

    @property
    def event_id(self) -> str:
        """``ce_id``."""
        return self.header(CE_ID)

    @property
    def type(self) -> str:
        """``ce_type``."""
        return self.header(CE_TYPE)

    @property
    def cause(self) -> str:
        """The fingerprint of its cause: letters that died of the same have the same."""
        return fingerprint(self.stage, self.error, self.common_message)

    @property
    def violations(self) -> list[dict[str, str]]:
        """The rules that the event breaks, each with ``rule``, ``field`` and ``message``."""
        try:
            found = json.loads(self.header(TL_VIOLATIONS) or "[]")
        except (ValueError, RecursionError):  # who writes to the queue by hand may write anything
            return []
        return found if isinstance(found, list) else []

    @property
    def common_message(self) -> str:
        """What the error said without the values of this letter."""
        return self.header(TL_CAUSE)[:MAX_MASKED] or mask(self.message, self._own_values())

    def _own_values(self) -> Iterator[str]:
        for key in {self.key, self.event_key}:
            text = printable(key)
            yield from (text, *split_key(text))
        yield self.event_id


def printable(raw: bytes | None) -> str:
    """Bytes as text; ``0x…`` for what is not UTF-8, "" for none."""
    try:
        return (raw or b"").decode()
    except UnicodeDecodeError:
        return f"0x{(raw or b'').hex()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters a request selects: those that fit everything that is given.

    - ``key``: the text that ``DeadLetter.shown_key`` has; "" selects letters without a key.
    - ``since``, ``until``: when it died, in ISO 8601; until is excluded.
    - ``error``: the class. ``message``: a part of the error's message.
    - ``cause``: the fingerprint, or the beginning of it.
    - ``header``: names and texts.

    Raises ConfigurationError for a time that is none.
    """

    key: str | None = None
    since: str | None = None
    until: str | None = None
    error: str | None = None
    cause: str | None = None
    message: str | None = None
    header: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parse_moment(self.since)
        parse_moment(self.until)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> DeadLetterFilter:
        """The filter in a re-drive's control record. Raises ConfigurationError."""
        names = {one.name for one in fields(cls)}
        return cls(**{k: v for k, v in record.items() if k in names and v is not None})

    def to_record(self) -> dict[str, Any]:
        """The filter's fields of a re-drive's control record."""
        # As it is, not ``or None``: a filter for letters without a key (``key=""``) would be gone,
        # and the request would be about all letters.
        return {one.name: getattr(self, one.name) for one in fields(self)} | {
            "header": dict(self.header) or None
        }

    def matches(self, letter: DeadLetter) -> bool:
        """Whether the letter is selected."""
        return (
            (self.key is None or letter.shown_key == self.key)
            and (self.error is None or letter.error == self.error)
            and (self.message is None or self.message in letter.message)
            and (self.cause is None or letter.cause.startswith(self.cause))
            and all(letter.header(name) == text for name, text in self.header.items())
            and self._in_time(letter.time)
        )

    def _in_time(self, time: datetime) -> bool:
        since, until = parse_moment(self.since), parse_moment(self.until)
        return (since is None or time >= since) and (until is None or time < until)
