"""The route job as a good engineer writes it by hand: confluent-kafka, fastavro, at-least-once.

Batches, cached schemas, an idempotent producer with acks=all; offsets are committed when all of a
batch is acknowledged. Run as ``python route_confluent.py``, with BOOTSTRAP and REGISTRY set.
"""

from __future__ import annotations

import json
import os
import signal
import struct
from io import BytesIO

from confluent_kafka import Consumer, Message, Producer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from transforms import activity, invoice, pick_list, schema

BATCH = 2000
WAREHOUSE, BILLING, CRM = "confluent.warehouse", "confluent.billing", "confluent.crm"

registry = SchemaRegistryClient({"url": os.environ["REGISTRY"]})
writers: dict[int, dict] = {}
running = True


def decode(value: bytes) -> dict:
    (schema_id,) = struct.unpack_from(">I", value, 1)
    if schema_id not in writers:
        writers[schema_id] = parse_schema(json.loads(registry.get_schema(schema_id).schema_str))
    stream = BytesIO(value)
    stream.seek(5)
    return schemaless_reader(stream, writers[schema_id])


def encoder(topic: str, name: str):
    parsed = parse_schema(schema(name))
    registered = registry.register_schema(
        f"{topic}-value", Schema(json.dumps(schema(name)), "AVRO")
    )
    prefix = struct.pack(">bI", 0, registered)

    def encode(data: dict) -> bytes:
        stream = BytesIO()
        stream.write(prefix)
        schemaless_writer(stream, parsed, data)
        return stream.getvalue()

    return encode


to_warehouse = encoder(WAREHOUSE, "PickList")
to_billing = encoder(BILLING, "Invoice")
to_crm = encoder(CRM, "Activity")


def route(message: Message, produce) -> None:
    order = decode(message.value())
    key, headers = message.key(), message.headers()
    if dict(headers)["ce_type"] == b"order.paid":
        produce(WAREHOUSE, to_warehouse(pick_list(order)), key, headers=headers)
        produce(BILLING, to_billing(invoice(order)), key, headers=headers)
    else:
        produce(CRM, to_crm(activity(order)), key, headers=headers)


def stop(*_: object) -> None:
    global running
    running = False


def main() -> None:
    bootstrap = {"bootstrap.servers": os.environ["BOOTSTRAP"]}
    group = {"group.id": "confluent", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({**bootstrap, **group})
    idempotent = {"enable.idempotence": True, "acks": "all", "linger.ms": 5}
    tuned = {"compression.type": "lz4", "queue.buffering.max.messages": 4 * BATCH}
    producer = Producer({**bootstrap, **idempotent, **tuned})
    consumer.subscribe(["bench.orders"])
    signal.signal(signal.SIGTERM, stop)
    while running:
        messages = [m for m in consumer.consume(BATCH, timeout=0.2) if m.error() is None]
        for message in messages:
            route(message, producer.produce)
        if producer.flush(30):
            raise RuntimeError("Kafka does not acknowledge: the batch is read again")
        if messages:
            consumer.commit(asynchronous=False)
    consumer.close()


if __name__ == "__main__":
    main()
