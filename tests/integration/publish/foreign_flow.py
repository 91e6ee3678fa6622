"""A flow that reads a topic of Debezium's of another cluster, and one of another program's."""

import os

from trunkline import Flow, Params, Record
from trunkline.connectors.debezium import DebeziumSource
from trunkline.connectors.kafka import KafkaCluster
from trunkline.schemas.commerce import Order

NAME = os.environ["FLOW"]


class Env(Params):
    foreign: str
    topic: str


flow = Flow(NAME, Env)


@flow.source
def oracle(env: Env) -> DebeziumSource:
    return DebeziumSource(KafkaCluster(env.foreign), env.topic, batch=50)


@flow.topic(f"{NAME}.orders", source=oracle)
def orders(row: Record) -> Order:
    return Order(id=row.key, status=row.data["STATUS"], total_cents=int(row.data["CENTS"]))
