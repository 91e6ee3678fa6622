"""Topics of another Kafka cluster: a source that reads them, a sink that writes them.

In come records of foreign topics; out go records with positions, one offset a partition. The one
room of the connectors that knows Kafka's clients, the codec and the registry: here Kafka is the
system. ``cluster`` says where it is; ``topics`` asks it for topics, partitions and offsets;
``reader`` reads them by hand, in no group; ``source`` makes records of messages, with what
``values`` and ``avro`` read; ``sink`` writes canonical events.
"""

from trunkline.connectors.kafka.cluster import KafkaCluster
from trunkline.connectors.kafka.sink import KafkaSink
from trunkline.connectors.kafka.source import KafkaSource

__all__ = ["KafkaCluster", "KafkaSink", "KafkaSource"]
