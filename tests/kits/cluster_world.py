"""A flow's file with an environment, and the commands that plan, apply and destroy it."""

from __future__ import annotations

import json
import logging
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from trunkline import kafka
from trunkline.cli import app
from trunkline.params import Backbone

FLOW = '''
from trunkline import Event, Flow, Params, Record, Retry, Secret
from trunkline.connectors.http import HttpSink
from trunkline.connectors.webhook import WebhookSource
from trunkline.schemas.types import avro_type
from typing import TypedDict


class Order(TypedDict):
    id: str


avro_type(Order, """SCHEMA""")


class Env(Params):
    erp_url: str
    erp_token: Secret


flow = Flow("NAME", Env)


@flow.source
def shop(env: Env) -> WebhookSource:
    return WebhookSource(port=0, key="id")


@flow.topic("NAME.canonical", source=shop)
def orders(row: Record) -> Order:
    return Order(id=row.key)
'''
DESTINATION = """

@flow.destination(retry=Retry("10s", "1h"))
def NAME(env: Env) -> HttpSink[Order]:
    return HttpSink(env.erp_url, token=env.erp_token)


@flow.route(orders, to=NAME)
def to_NAME(order: Event[Order]) -> Order:
    return order.data
"""
PASSWORD = "p@ss/w%rd-marked"


def schema(*fields: dict[str, Any]) -> str:
    mine = [{"name": "id", "type": "string"}, *fields]
    return json.dumps({"type": "record", "name": "Order", "fields": mine})


@contextmanager
def process_left_as_it_was() -> Iterator[None]:
    """A command in this process leaves its log and its import path to no other test.

    Case: a handler on a stream that is closed by then wrote into what later tests read.
    """
    root, path, finders = logging.getLogger(), sys.path[:], sys.meta_path[:]
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:], sys.path[:], sys.meta_path[:] = handlers, path, finders
        root.setLevel(level)


class World:
    """A flow's file, an environment, and the commands in its folder."""

    def __init__(self, folder: Path, bootstrap: str, registry: str) -> None:
        self.folder = folder
        self.name = f"plan-{uuid.uuid4().hex[:8]}"
        self.backbone = Backbone(bootstrap=bootstrap, registry=registry)
        (folder / "environments").mkdir()
        self.environment()
        self.write("erp")

    def environment(self, **topics: Mapping[str, object]) -> None:
        lines = [
            "[trunkline]",
            f'bootstrap = "{self.backbone.bootstrap}"',
            f'registry = "{self.backbone.registry}"',
            f'registry_password = "{PASSWORD}"',
            "create = false",
            "partitions = 2",
        ]
        for suffix, said in topics.items():
            lines.append(f'[trunkline.topics."{self.name}.{suffix.replace("_", ".")}"]')
            lines += [f'"{key}" = {value}' for key, value in said.items()]
        lines += ["[params]", 'erp_url = "http://127.0.0.1:1"', f'erp_token = "{PASSWORD}"']
        (self.folder / "environments" / "it.toml").write_text("\n".join(lines))

    def write(self, *destinations: str, fields: tuple[dict[str, Any], ...] = ()) -> None:
        text = FLOW.replace("NAME", self.name).replace("SCHEMA", schema(*fields))
        text += "".join(DESTINATION.replace("NAME", one) for one in destinations)
        (self.folder / "orders.py").write_text(text)

    def run(self, *words: str) -> tuple[int, str]:
        """A command's exit code and all that it said."""
        with process_left_as_it_was():
            done = CliRunner().invoke(app, words)
        assert PASSWORD not in done.output
        said = f"{done.exception}" if done.exit_code == 1 else ""
        return done.exit_code, done.output + said

    def plan(self, *more: str) -> tuple[int, str]:
        return self.run("plan", "orders.py", "--env", "it", *more)

    def apply(self, *more: str) -> tuple[int, str]:
        return self.run("apply", "orders.py", "--env", "it", "--yes", *more)

    def produce(self, topic: str, key: bytes = b"k", value: bytes = b"v") -> None:
        """One record."""
        producer = kafka.producer(self.backbone)
        kafka.produce(producer, [kafka.ProducerRecord(topic, key, value, [])])
        assert producer.flush(30) == 0

    def topics(self) -> dict[str, int]:
        there = kafka.existing_topics(kafka.admin(self.backbone))
        prefix = f"{self.name}."
        return {n.removeprefix(prefix): c for n, c in there.items() if n.startswith(prefix)}
