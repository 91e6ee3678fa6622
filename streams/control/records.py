"""The keys of the control topic, each composed and taken apart here and nowhere else.

One topic holds all of a flow's state; the first part of a key says what its record tells:

- ``destination/<destination>``: what an operator commands a destination (``OverrideKey``);
- ``status/<destination>/<worker>``: how a destination is in one worker (``StatusKey``);
- ``start/<topic>``: the flow's first start, for a topic with ``start=`` (``StartKey``);
- ``source/<source>/<what>``: what an operator commands a source, when it was last reset, and how
  it is (``SourceKey``); ``source/<source>/snapshot/<id>``: rows that it is to read
  (``SnapshotKey``);
- ``alert/<step>/<name>/<kind>``: one alarm (``AlertKey``);
- ``replay/<id>``: a replay, re-drive or discard as it is asked for, and
  ``replay/<id>/<topic>/<partition>``: how far one partition of it is (``ReplayKey``);
- ``dlq/<name>/<topic>/<partition>``: which dead letters are handled (``HandledKey``);
- ``release/<destination>/<partition>/<sequence>/<attempts>``: what an operator decided about an
  event that halts its key (``HaltKey``);
- ``retry/<destination>/<partition>/<id>``: what an operator decided about events that wait in retry
  topics (``RetryKey``).

``text`` is the key as the topic has it. ``parse`` is strict: what ``text`` would not have written
is no such key, and None. Why: the topic is open to whoever may write to Kafka, and a record that
was half understood (a partition ``07``, a part too many) would be one that nobody ever removes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from trunkline.kafka.offsets import Partition

# 19 digits are those of the largest offset. Without a bound, int() raises ValueError for 5,000 of
# them, and whoever may write to the topic could end every worker.
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
"""A number as ``text`` writes it: "7", neither "07" nor "+7"."""


ROUTING = "(routing)"
"""In a StatusKey, in place of a destination: the routes of the flow. No function has this name."""


@dataclass(frozen=True, slots=True)
class OverrideKey:
    """What an operator commands a destination."""

    destination: str

    @property
    def text(self) -> str:
        """The key as the control topic has it."""
        return f"destination/{self.destination}"

    @classmethod
    def parse(cls, text: str) -> OverrideKey | None:
        """The key that was written so; None for any other."""
        match text.split("/"):
            case ["destination", destination] if destination:
                return cls(destination)
        return None


@dataclass(frozen=True, slots=True)
class StatusKey:
    """How a destination, or routing (``ROUTING``), is in one worker."""

    destination: str
    worker: str

    @property
    def text(self) -> str:
        """The key as the control topic has it."""
        return f"status/{self.destination}/{self.worker}"

    @classmethod
    def parse(cls, text: str) -> StatusKey | None:
        """The key that was written so; None for any other."""
        match text.split("/"):
            case ["status", destination, worker] if destination and worker:
                return cls(destination, worker)
        return None


@dataclass(frozen=True, slots=True)
class StartKey:
    """When a flow was first started, and how many partitions a topic with ``start=`` had then."""

    topic: str

    @property
    def text(self) -> str:
        """The key as the control topic has it."""
        return f"start/{self.topic}"

    @classmethod
    def parse(cls, text: str) -> StartKey | None:
        """The key that was written so; None for any other."""
        match text.split("/"):
            case ["start", topic] if topic:
                return cls(topic)
        return None


@dataclass(frozen=True, slots=True)
class SourceKey:
    """Of a source: what an operator commands it (``command``), when somebody reset it last
    (``reset``), and how it is, as the worker tells that runs it (``status``)."""

    source: str
    what: str

    @staticmethod
    def prefix(source: str) -> str:
        """What all keys of a source begin with."""
        return f"source/{source}/"

    @property
    def text(self) -> str:
        """The key as the control topic has it."""
        return f"{self.prefix(self.source)}{self.what}"

    @classmethod
    def parse(cls, text: str) -> SourceKey | None:
        """The key that was written so; None for any other."""
        match text.split("/"):
            case ["source", source, "command" | "reset" | "status" as what] if source:
                return cls(source, what)
        return None


@dataclass(frozen=True, slots=True)
class SnapshotKey:
    """Rows that an operator wants a source to read while it goes on."""

    source: str
    id: str

    @property
    def text(self) -> str:
        """The key as the control topic has it."""
        return f"{SourceKey.prefix(self.source)}snapshot/{self.id}"

    @classmethod
    def parse(cls, text: str) -> SnapshotKey | None:
        """The key that was written so; None for any other."""
        match text.split("/"):
            case ["source", source, "snapshot", id] if source and id:
                return cls(source, id)
        return None


@dataclass(frozen=True, slots=True)
class AlertKey:
    """One alarm. ``step``: publish, route or deliver; ``name``: of the source, flow or
    destination; ``kind``: what happened, as ``lag``."""

    PREFIX: ClassVar = "alert/"
    """What the keys of all alarms begin with."""

    step: str
    name: str
    kind: str

    @property
    def text(self) -> str:
        """The key as the control topic has it."""
        return f"{self.PREFIX}{self.step}/{self.name}/{self.kind}"

    @classmethod
    def parse(cls, text: str) -> AlertKey | None:
        """The key that was written so; None for any other."""
        match text.split("/"):
            case ["alert", step, name, kind] if step and name and kind:
                return cls(step, name, kind)
        return None


@dataclass(frozen=True, slots=True)
class ReplayKey:
    """A replay, re-drive or discard; with ``partition``, how far one canonical partition of it is.

    It is written in the transactions that do it.
    """

    PREFIX: ClassVar = "replay/"
    """What the keys of all replays begin with."""

    id: str
    partition: Partition | None = None

    @property
    def text(self) -> str:
        """The key as the control topic has it."""
        asked = f"{self.PREFIX}{self.id}"
        return asked if self.partition is None else f"{asked}/{_partition_text(self.partition)}"

    @classmethod
    def parse(cls, text: str) -> ReplayKey | None:
        """The key that was written so; None for any other."""
        match text.split("/"):
            case ["replay", id] if id:
                return cls(id)
            case ["replay", id, topic, number] if id and (at := _partition(topic, number)):
                return cls(id, at)
        return None


@dataclass(frozen=True, slots=True)
class HandledKey:
    """Which dead letters are re-driven or discarded. ``name``: of the destination or source;
    ``origin``: the canonical partition that they were made of."""

    PREFIX: ClassVar = "dlq/"
    """What the keys of all queues begin with."""

    name: str
    origin: Partition

    @property
    def text(self) -> str:
        """The key as the control topic has it."""
        return f"{self.PREFIX}{self.name}/{_partition_text(self.origin)}"

    @classmethod
    def parse(cls, text: str) -> HandledKey | None:
        """The key that was written so; None for any other."""
        match text.split("/"):
            case ["dlq", name, topic, number] if name and (origin := _partition(topic, number)):
                return cls(name, origin)
        return None


@dataclass(frozen=True, slots=True)
class HaltKey:
    """What an operator decided about one dead letter of an event that halts its key.

    ``partition``, ``sequence``: where the event is in the inbox; ``attempts``: how many had failed.
    The two are texts, as the headers of the event and of its dead letter have them.
    """

    destination: str
    partition: int
    sequence: str
    attempts: str

    @property
    def text(self) -> str:
        """The key as the control topic has it."""
        return f"release/{self.destination}/{self.partition}/{self.sequence}/{self.attempts}"

    @classmethod
    def parse(cls, text: str) -> HaltKey | None:
        """The key that was written so; None for any other."""
        match text.split("/"):
            case ["release", name, *numbers] if name and all(map(_NUMBER.fullmatch, numbers)):
                return cls(name, int(numbers[0]), *numbers[1:]) if len(numbers) == 3 else None
        return None


@dataclass(frozen=True, slots=True)
class RetryKey:
    """What an operator decided about events of one partition that wait in retry topics."""

    destination: str
    partition: int
    id: str

    @staticmethod
    def prefix(destination: str) -> str:
        """What the keys of all decisions about a destination begin with."""
        return f"retry/{destination}/"

    @property
    def text(self) -> str:
        """The key as the control topic has it."""
        return f"{self.prefix(self.destination)}{self.partition}/{self.id}"

    @classmethod
    def parse(cls, text: str) -> RetryKey | None:
        """The key that was written so; None for any other."""
        match text.split("/"):
            case ["retry", name, number, id] if name and id and _NUMBER.fullmatch(number):
                return cls(name, int(number), id)
        return None


def _partition_text(partition: Partition) -> str:
    return f"{partition[0]}/{partition[1]}"


def _partition(topic: str, number: str) -> Partition | None:
    return (topic, int(number)) if topic and _NUMBER.fullmatch(number) else None
