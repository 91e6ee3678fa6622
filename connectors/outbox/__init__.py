"""Outbox: the rows of an outbox table become events, and are removed once Kafka has them.

In come rows that an application wrote in the transaction of its own change; out go records whose
key, type and payload those rows say. ``source`` is the connector, which polls the table or reads
it through a source of changes; ``layout`` says which column is what and makes records of rows,
``table`` reads the rows that wait and removes or marks those that are published.
"""

from trunkline.connectors.outbox.layout import OutboxColumns
from trunkline.connectors.outbox.source import Outbox

__all__ = ["Outbox", "OutboxColumns"]
