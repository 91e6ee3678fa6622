"""One flow of test_deliver_through_anything.py, and what it delivers to: what stands in topics,
logs and the table."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from io import BytesIO
from pathlib import Path

import faulty_server
from chaos import Strike
from confluent_kafka import Message, TopicPartition
from fastavro import parse_schema, schemaless_reader
from faulty_server import HALTING, POISONS, fate, requests_of
from history import Account, Place, uncompleted
from publisher import SECONDS, refused_id
from stored_table import StoredTable
from table_history import TableAccount, differences

from trunkline import kafka
from trunkline.local.ports import free_port
from trunkline.params import Backbone
from trunkline.schemas.commerce import Order
from trunkline.schemas.types import schema_of
from worker_kit import header, read

TIERS = ("retry.500ms", "retry.2s", "retry.5s")
DESTINATIONS = ("ordered", "unordered", "halting")
"""Those of the API; another one, ``stored``, keeps a table."""
ORDER = parse_schema(json.loads(schema_of(Order).json))


class Case:
    """``events``: what is published, which may still grow. A context manager: the API runs."""

    def __init__(
        self,
        backbone: Backbone,
        name: str,
        home: Path,
        seed: int,
        *,
        events: Sequence[Place],
        table: StoredTable,
    ) -> None:
        self._backbone = backbone
        self._name = name
        self._home = home
        self._seed = seed
        self._events = events
        self._table = table
        self._ports = {destination: free_port() for destination in DESTINATIONS}
        self.urls = {name: f"http://127.0.0.1:{port}" for name, port in self._ports.items()}

    def __enter__(self) -> Case:
        options = [f"--seed={self._seed}", f"--seconds={SECONDS}", f"--home={self._home}"]
        ports = [f"{name}={port}" for name, port in self._ports.items()]
        with (self._home / "api.log").open("wb") as output:
            command = [sys.executable, faulty_server.__file__, *options, *ports]
            self._api = subprocess.Popen(command, stdout=output, stderr=output)
        return self

    def __exit__(self, *failure: object) -> None:
        assert self._api.poll() is None, (self._home / "api.log").read_text()
        self._api.kill()
        self._api.wait()

    def heard(self) -> int:
        """How long the API's logs are."""
        return sum(log.stat().st_size for log in self._home.glob("*.requests"))

    def events_of(self, destination: str) -> list[Place]:
        """Key and number of what it is to get."""
        return [event for event in self._meant_for(destination) if not self._is_refused(event)]

    def _meant_for(self, destination: str) -> list[Place]:
        # A route that decides by the key reads no value, and is not stopped by one.
        return [event for event in self._events if destination != "halting" or event[0] in HALTING]

    def _is_refused(self, event: Place) -> bool:
        return refused_id(self._seed, *event) != 0

    def concluded(self) -> bool:
        """Whether every poison event is in a DLQ."""
        return all(self._poison(name) <= self._dead(name) for name in DESTINATIONS)

    def settled(self) -> bool:
        """Whether all is delivered and completed that can be."""
        names = (*DESTINATIONS, "stored")
        wanted = sum(len(self.events_of(name)) for name in names)
        if sum(len(self._read(name, "inbox")) for name in names) < wanted:
            return False
        return not any(self._open(name) for name in names)

    def routed(self, destination: str) -> list[Place]:
        """What stands in its inbox."""
        return [place for _, place in _places(self._read(destination, "inbox"))]

    def account(self, name: str, strikes: Sequence[Strike] = ()) -> Account:
        """What there is to know of a destination of the API."""
        requests, lost = requests_of(self._home / f"{name}.requests")
        return Account(
            events=dict(_places(self._read(name, "inbox"))),
            requests=requests,
            lost=lost,
            letters=[letter for letter in self._read(name, "dlq") if not _is_unreadable(letter)],
            open=self._open(name),
            strikes=strikes,
            fates=self._fates(name),
            ordered=name != "unordered",
            halts=name == "halting",
        )

    def unread(self, destination: str) -> list[str]:
        """What is wrong with its dead letters of events that nobody can read."""
        found = [m for m in self._read(destination, "dlq") if _is_unreadable(m)]
        dead = [place for _, place in _places(found)]
        wanted = filter(self._is_refused, self._meant_for(destination))
        return list(differences("dead since nobody can read them", list(wanted), dead))

    def table_account(self) -> TableAccount:
        """What there is to know of the table and what leads to it."""
        dead = [letter for letter in self._read("stored", "dlq") if not _is_unreadable(letter)]
        return TableAccount(
            events=self.events_of("stored"),
            routed=self.routed("stored"),
            dead={place: _why(letter) for letter in dead for _, place in _places([letter])},
            retried=sum(self._written(f"{self._name}.stored.{tier}") for tier in TIERS),
            open=len(self._open("stored")),
            rows=self._table.rows(),
        )

    def _poison(self, name: str) -> set[Place]:
        return {event for event, does in self._fates(name).items() if does in POISONS}

    def _dead(self, name: str) -> set[Place]:
        return {place for _, place in _places(self._read(name, "dlq"))}

    def _fates(self, destination: str) -> dict[Place, str]:
        seed = f"{self._seed}/{destination}"
        drawn = ((event, fate(seed, *event)) for event in self.events_of(destination))
        return {event: does for event, does in drawn if does}

    def _open(self, destination: str) -> set[str]:
        topics = [f"{self._name}.{destination}.{part}" for part in ("inbox", *TIERS)]
        return uncompleted(self._backbone, f"{self._name}.{destination}", topics)

    def _written(self, topic: str) -> int:
        """How many records a topic has ever got, also those that are purged since."""
        with closing(kafka.consumer(self._backbone, f"written-{topic}")) as reader:
            numbers = reader.list_topics(topic, timeout=30).topics[topic].partitions
            ends = [reader.get_watermark_offsets(TopicPartition(topic, n), 30) for n in numbers]
        return sum(end for _, end in ends)

    def _read(self, destination: str, part: str) -> list[Message]:
        return read(self._backbone, f"{self._name}.{destination}.{part}")


def _places(messages: Sequence[Message]) -> Iterator[tuple[str, Place]]:
    """Ids and places of events, whatever schema their values name: each begins with an order's
    fields."""
    for message in messages:
        value = message.value()
        assert value is not None
        order = schemaless_reader(BytesIO(value[5:]), ORDER, None)
        assert isinstance(order, dict)
        yield header(message, "ce_id"), (order["id"], order["total_cents"])


def _why(record: Message) -> str:
    return f"{header(record, 'tl_error_class')}: {header(record, 'tl_error')}"


def _is_unreadable(letter: Message) -> bool:
    return header(letter, "tl_error_class") == "SerializationError"
