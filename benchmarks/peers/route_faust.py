"""The route job in stock Faust: an agent over the topic, Avro by fastavro with cached schemas.

Run as ``python route_faust.py worker``, with BOOTSTRAP, REGISTRY and FAUST_DATADIR set.
"""

from __future__ import annotations

import json
import os
import struct
import urllib.request
from io import BytesIO

import faust
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from transforms import activity, invoice, pick_list, schema

REGISTRY = os.environ["REGISTRY"]
app = faust.App(
    "faust",
    broker=f"kafka://{os.environ['BOOTSTRAP']}",
    value_serializer="raw",
    key_serializer="raw",
    producer_acks=-1,
    topic_disable_leader=True,
    web_enabled=False,
)
orders = app.topic("bench.orders")
warehouse = app.topic("faust.warehouse")
billing = app.topic("faust.billing")
crm = app.topic("faust.crm")
writers: dict[int, dict] = {}


def ask(path: str, body: dict | None = None) -> dict:
    data = json.dumps(body).encode() if body else None
    kind = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    with urllib.request.urlopen(urllib.request.Request(REGISTRY + path, data, kind)) as answer:
        return json.load(answer)


def decode(value: bytes) -> dict:
    (schema_id,) = struct.unpack_from(">I", value, 1)
    if schema_id not in writers:
        writers[schema_id] = parse_schema(json.loads(ask(f"/schemas/ids/{schema_id}")["schema"]))
    return schemaless_reader(BytesIO(value[5:]), writers[schema_id])


def encoder(subject: str, name: str):
    parsed = parse_schema(schema(name))
    answer = ask(f"/subjects/{subject}/versions", {"schema": json.dumps(schema(name))})
    prefix = struct.pack(">bI", 0, answer["id"])

    def encode(data: dict) -> bytes:
        stream = BytesIO()
        stream.write(prefix)
        schemaless_writer(stream, parsed, data)
        return stream.getvalue()

    return encode


to_warehouse = encoder("faust.warehouse-value", "PickList")
to_billing = encoder("faust.billing-value", "Invoice")
to_crm = encoder("faust.crm-value", "Activity")


@app.agent(orders)
async def route(stream):
    async for event in stream.events():
        order, key, headers = decode(event.value), event.key, event.headers
        if headers["ce_type"] == b"order.paid":
            await warehouse.send(key=key, value=to_warehouse(pick_list(order)), headers=headers)
            await billing.send(key=key, value=to_billing(invoice(order)), headers=headers)
        else:
            await crm.send(key=key, value=to_crm(activity(order)), headers=headers)


if __name__ == "__main__":
    app.main()
