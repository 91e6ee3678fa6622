"""Who asked gateways for what: the audit of their callers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

from confluent_kafka import KafkaException, TopicPartition

from trunkline import kafka
from trunkline.access.audit import AccessRecord, parsed_access
from trunkline.errors import ConfigurationError
from trunkline.kafka.clients import low_latency
from trunkline.kafka.reading import records, watermarks
from trunkline.naming import ACCESSES
from trunkline.params import Backbone

TIMEOUT = 10.0


def read_accesses(
    backbone: Backbone, since: datetime, *, client: str = "", denied: bool = False
) -> Iterator[AccessRecord]:
    """What gateways were asked for since then, oldest first: by all clients or by one, all of it or
    what was denied. Blocks while it is iterated, writes nothing. Raises ConfigurationError where
    no gateway ever ran, and KafkaUnavailable."""
    if ACCESSES not in kafka.existing_topics(kafka.admin(backbone), expected=[ACCESSES]):
        raise ConfigurationError(f"there is no topic {ACCESSES}: no gateway has run here yet")
    place = (ACCESSES, 0)
    try:
        with closing(kafka.consumer(low_latency(backbone), ACCESSES, eof=True)) as reader:
            span = watermarks(reader, place)
            asked = TopicPartition(*place, max(0, int(since.timestamp() * 1000)))
            (found,) = reader.offsets_for_times([asked], TIMEOUT)
            start = found.offset if found.offset >= 0 else span.stop
            for message in records(reader, {place: range(max(span.start, start), span.stop)}):
                record = parsed_access(message.value())
                if record is None or (client and record.client != client):
                    continue
                if record.is_denied or not denied:
                    yield record
    except KafkaException as failure:
        what = "the audit of the gateways cannot be read"
        raise kafka.unavailable(what, failure, topic=ACCESSES) from failure
