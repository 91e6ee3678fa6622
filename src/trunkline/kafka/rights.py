"""Rights on Kafka's resources, and which of them an account lacks: asked of Kafka itself, which
tells with the description of a topic what the one who asks may do with it (KIP-430)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from trunkline.kafka.clients import producer
from trunkline.kafka.reasons import is_forbidden, unavailable
from trunkline.params import Backbone

TOPIC, GROUP, TRANSACTIONAL_ID = "topic", "group", "transactional-id"
TIMEOUT = 10.0
"""Seconds that one answer may take."""
_ABSENT = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.GROUP_ID_NOT_FOUND)


@dataclass(frozen=True, slots=True)
class Right:
    """What may be done with one resource, in the words of Kafka's access lists: ``Read``,
    ``DescribeConfigs``. ``prefixed``: with all resources whose names begin so."""

    resource: str
    name: str
    operations: tuple[str, ...]
    prefixed: bool = False

    def __str__(self) -> str:
        star = "*" if self.prefixed else ""
        return f"{', '.join(self.operations)} on {self.resource} {self.name}{star}"


def missing_rights(client: AdminClient, needed: Iterable[Right]) -> list[Right]:
    """Those of the rights on topics and groups that this client's account lacks; of each the
    operations that it lacks. What is not there yet lacks nothing, nor does anything of a cluster
    that does not tell. Blocks. Raises KafkaUnavailable."""
    rights = list(needed)
    topics = [right for right in rights if right.resource == TOPIC]
    groups = [right for right in rights if right.resource == GROUP]
    found: list[Right] = []
    if topics:
        names = TopicCollection([right.name for right in topics])
        found += _lacking(topics, client.describe_topics(names, **_WITH_RIGHTS))
    if groups:
        ids = [right.name for right in groups]
        found += _lacking(groups, client.describe_consumer_groups(ids, **_WITH_RIGHTS))
    return found


_WITH_RIGHTS: dict[str, Any] = {"include_authorized_operations": True, "request_timeout": TIMEOUT}


def _lacking(rights: list[Right], answers: Mapping[str, Future[Any]]) -> list[Right]:
    found = []
    for right in rights:
        allowed = _allowed(answers[right.name], right)
        if allowed is None:
            continue
        if lacking := tuple(name for name in right.operations if _key(name) not in allowed):
            found.append(Right(right.resource, right.name, lacking))
    return found


def _allowed(answer: Future[Any], right: Right) -> set[str] | None:
    """What may be done; None where Kafka does not say."""
    failure = answer.exception(2 * TIMEOUT)
    if failure is None:
        operations = answer.result().authorized_operations
        return None if operations is None else {_key(operation.name) for operation in operations}
    if not isinstance(failure, KafkaException):
        raise failure
    if is_forbidden(failure):
        return set()
    if failure.args[0].code() in _ABSENT:
        return None
    raise unavailable(f"the rights on {right.name!r} cannot be asked for", failure) from failure


def _key(operation: str) -> str:
    return operation.replace("_", "").upper()


def may_write_transactions(backbone: Backbone, id: str) -> bool:
    """Whether this account may write in transactions of this id, which nobody else may use: whoever
    does is fenced. Blocks. Raises KafkaUnavailable."""
    probe = producer(backbone, transactional_id=id)
    try:
        probe.init_transactions(TIMEOUT)
    except KafkaException as failure:
        if is_forbidden(failure):
            return False
        raise unavailable(f"transactions of {id!r} cannot be begun", failure) from failure
    finally:
        # Else its threads would go on for as long as somebody keeps the failure. A client that was
        # refused raises the refusal once more.
        with suppress(KafkaException):
            probe.close()
    return True
