"""The local stack on real servers."""

from confluent_kafka.admin import AdminClient

from trunkline.local.stack import Endpoints


def test_the_shared_stack_serves(stack: Endpoints) -> None:
    assert AdminClient({"bootstrap.servers": stack.bootstrap}).list_topics(timeout=5).brokers
