"""Where an event stands in its inbox, as SqlSink stores it in the table of positions.

Users' tables hold these texts: another one would be another inbox, and each repeated event would
count as a new one.
"""

from __future__ import annotations

import pytest

from trunkline import Event
from trunkline.connectors.sql.changes import inbox_partition


@pytest.mark.parametrize(
    ("topic", "stored"),
    [
        ("orders.erp.inbox", "orders.erp/3"),
        ("orders.erp.retry.10s", "orders.erp/3"),
        ("orders.erp.retry.1.5s", "orders.erp/3"),
        ("contract.sink.inbox", "contract.sink/3"),
        ("anything", "anything/3"),
        ("", "/3"),
    ],
)
def test_an_event_of_a_retry_topic_counts_in_its_inbox(topic: str, stored: str) -> None:
    event = Event(key="k", value=b"", headers=[], decode=bytes, topic=topic, partition=3)
    assert inbox_partition(event) == stored
