"""Topics that Debezium fills: the changes of databases for which Trunkline has no connector.

In come Debezium's envelopes, in Avro or JSON; out go records as those of our own change data
capture. ``source`` reads topics as KafkaSource does and hands each message on; ``envelope`` tells
what it is: a change, a transaction's mark, a change of the schema. ``schemas`` finds out from a
message's schema which of its values are encoded how, ``semantics`` has the encodings, ``mongodb``
extended JSON, ``placeholders`` what stands for values that were not sent.
"""

from trunkline.connectors.debezium.semantics import UNCHANGED
from trunkline.connectors.debezium.source import DebeziumSource

__all__ = ["UNCHANGED", "DebeziumSource"]
