"""The route job in Quix Streams, with its own Avro serializers and the schema registry."""

from __future__ import annotations

import os

from quixstreams import Application
from quixstreams.models import SchemaRegistryClientConfig
from quixstreams.models.serializers.avro import AvroDeserializer, AvroSerializer
from transforms import activity, invoice, pick_list, schema

registry = SchemaRegistryClientConfig(url=os.environ["REGISTRY"])
app = Application(
    broker_address=os.environ["BOOTSTRAP"],
    consumer_group="quix",
    auto_offset_reset="earliest",
    producer_extra_config={"acks": "all", "linger.ms": 5, "compression.type": "lz4"},
    auto_create_topics=False,
)


def output(name: str, type_name: str):
    serializer = AvroSerializer(schema(type_name), schema_registry_client_config=registry)
    return app.topic(name, value_serializer=serializer, key_serializer="bytes")


orders = app.topic(
    "bench.orders",
    value_deserializer=AvroDeserializer(schema_registry_client_config=registry),
    key_deserializer="bytes",
)
warehouse = output("quix.warehouse", "PickList")
billing = output("quix.billing", "Invoice")
crm = output("quix.crm", "Activity")


def is_paid(value, key, timestamp, headers) -> bool:
    return dict(headers)["ce_type"] == b"order.paid"


def is_not_paid(value, key, timestamp, headers) -> bool:
    return not is_paid(value, key, timestamp, headers)


stream = app.dataframe(orders)
paid = stream.filter(is_paid, metadata=True)
paid.apply(pick_list).to_topic(warehouse)
paid.apply(invoice).to_topic(billing)
stream.filter(is_not_paid, metadata=True).apply(activity).to_topic(crm)

if __name__ == "__main__":
    app.run()
