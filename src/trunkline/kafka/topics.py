"""Topics as a flow needs them: which there are, and creating those that are missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from trunkline.errors import ConfigurationError
from trunkline.kafka.clients import TOPIC_MAX, KafkaUnavailable, admin
from trunkline.params import Backbone


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic that a flow needs. ``compact``: keep the newest record per key, for ever.

    ``like``: another topic, whose number of partitions this one must have; where that one exists
    already, its number counts and not ``partitions``.
    """

    name: str
    partitions: int
    compact: bool = False
    config: dict[str, str] = field(default_factory=dict)
    like: str = ""


def existing_topics(client: AdminClient, timeout: float = 10.0) -> dict[str, int]:
    """Every topic's partition count. Raises KafkaUnavailable."""
    try:
        topics = client.list_topics(timeout=timeout).topics
    except KafkaException as failure:
        raise KafkaUnavailable(
            f"Kafka does not answer: {failure.args[0].str()}; "
            "is TRUNKLINE_BOOTSTRAP right, and is it up (trunkline up)?"
        ) from failure
    return {name: len(topic.partitions) for name, topic in topics.items()}


def ensure_topics(
    backbone: Backbone, specs: Iterable[TopicSpec], there: Mapping[str, int] | None = None
) -> list[str]:
    """Create the missing topics; returns their names. ``there``: ``existing_topics``, if known.

    Raises ConfigurationError naming the missing ones where ``backbone.create`` forbids it, and
    those whose partitions are not as many as those of the topic that they are ``like``;
    KafkaUnavailable. Existing topics stay as they are.
    """
    client = admin(backbone)
    there = existing_topics(client) if there is None else there
    wanted = [matched(spec, there) for spec in specs]
    missing = {spec.name: spec for spec in wanted if spec.name not in there}
    if missing and not backbone.create:
        raise ConfigurationError(
            f"topics are missing: {', '.join(sorted(missing))}; "
            "create them, or allow it with create = true"
        )
    if not missing:
        return []
    made = client.create_topics([_new_topic(backbone, spec) for spec in missing.values()])
    for name, future in made.items():
        _created(name, future.exception())
    return sorted(missing)


def matched(spec: TopicSpec, there: Mapping[str, int]) -> TopicSpec:
    """The spec with as many partitions as the topic that it is like, if that one exists."""
    count = there.get(spec.like, spec.partitions)
    if (has := there.get(spec.name, count)) != count and spec.like:
        fewer, most = (spec.like, has) if has > count else (spec.name, count)
        raise ConfigurationError(
            f"topic {spec.name!r} has {has} partitions, but {spec.like!r} has {count}, and they "
            f"must have equally many: while nothing waits in them, stop the flow and run "
            f"kafka-topics.sh --alter --topic {fewer} --partitions {most}"
        )
    return replace(spec, partitions=count)


def _new_topic(backbone: Backbone, spec: TopicSpec) -> NewTopic:
    config = {"max.message.bytes": str(TOPIC_MAX), **spec.config}
    if spec.compact:
        config["cleanup.policy"] = "compact"
    if backbone.replication >= 3:
        config["min.insync.replicas"] = "2"
    return NewTopic(
        spec.name,
        num_partitions=spec.partitions,
        replication_factor=backbone.replication,
        config=config,
    )


def _created(name: str, failure: BaseException | None) -> None:
    if failure is None:
        return
    code = failure.args[0].code() if isinstance(failure, KafkaException) else None
    if code != KafkaError.TOPIC_ALREADY_EXISTS:  # another worker was first
        raise ConfigurationError(f"topic {name!r} could not be created: {failure}") from failure
