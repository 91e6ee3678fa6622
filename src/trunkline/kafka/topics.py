"""Topics as a flow needs them: which there are, and creating those that are missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from trunkline.errors import ConfigurationError
from trunkline.kafka.clients import TOPIC_MAX, admin, reasons_of
from trunkline.kafka.reasons import KafkaUnavailable, is_forbidden, unavailable
from trunkline.params import Backbone


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic that a flow needs. ``compact``: keep the newest record per key, for ever.

    ``like``: another topic, whose number of partitions this one must have; where that one exists
    already, its number counts and not ``partitions``. ``replication``: 0 for the environment's.
    """

    name: str
    partitions: int
    compact: bool = False
    config: dict[str, str] = field(default_factory=dict)
    like: str = ""
    replication: int = 0


LOOK = 0.05
"""Seconds between two looks at what a client has heard."""


def existing_topics(
    client: AdminClient, timeout: float = 10.0, *, expected: Iterable[str] = ()
) -> dict[str, int]:
    """The partition count of every topic that we may see. Raises KafkaUnavailable; at once and as
    KafkaRefused where waiting is of no use, as with a wrong password.

    ``expected``: topics that the caller looks for. If one of them is there and may not be seen it
    raises KafkaForbidden: Kafka leaves such out of a list, as if there were nothing.
    """
    require_answer(client, timeout)
    try:
        topics = client.list_topics(timeout=timeout).topics
    except KafkaException as failure:
        raise unavailable("the topics cannot be listed", failure) from failure
    hidden = [name for name in expected if name not in topics]
    if hidden:
        require_visible(client, hidden, timeout)
    return {name: len(topic.partitions) for name, topic in topics.items()}


def require_answer(client: AdminClient, timeout: float = 10.0) -> None:
    """Wait until Kafka answers this client. Raises as ``existing_topics``.

    Why not by the call for topics: it blocks, and meanwhile nobody gives the client the errors of
    its connections, which tell what is wrong.
    """
    reasons = reasons_of(client)
    answer: Future[Any] = client.describe_cluster(request_timeout=timeout)
    while not wait([answer], LOOK).done:
        client.poll(0)
        if reasons is not None:
            reasons.raise_final()
    client.poll(0)
    if (failure := answer.exception()) is None:
        if reasons is not None:
            reasons.clear()
        return
    if not isinstance(failure, KafkaException):
        raise failure
    if is_forbidden(failure):
        raise unavailable("the cluster cannot be looked at", failure) from failure
    told = reasons.text if reasons is not None else ""
    raise KafkaUnavailable(
        told
        or f"Kafka does not answer: {failure.args[0].str()}; is TRUNKLINE_BOOTSTRAP right, "
        "and is it up (trunkline up)?"
    ) from failure


def require_visible(client: AdminClient, names: list[str], timeout: float) -> None:
    """Raise KafkaForbidden if one of these topics, which are in no list, may not be seen."""
    answers = client.describe_topics(TopicCollection(names), request_timeout=timeout)
    for name, answer in answers.items():
        if is_forbidden(failure := answer.exception()):
            assert isinstance(failure, KafkaException)
            raise unavailable("it cannot be seen", failure, topic=name) from failure


def ensure_topics(
    backbone: Backbone,
    specs: Iterable[TopicSpec],
    there: Mapping[str, int] | None = None,
    *,
    flow: str = "FLOW",
) -> list[str]:
    """Create the missing topics; returns their names. ``there``: ``existing_topics``, if known;
    ``flow``: the file that a person names to have them made.

    Raises ConfigurationError naming the missing ones where ``backbone.create`` forbids it, and
    those whose partitions are not as many as those of the topic that they are ``like``;
    KafkaUnavailable. Existing topics stay as they are.
    """
    client = admin(backbone)
    specs = configured(backbone, specs)
    if there is None:
        there = existing_topics(client, expected=[spec.name for spec in specs])
    wanted = [matched(spec, there) for spec in specs]
    missing = {spec.name: spec for spec in wanted if spec.name not in there}
    if missing and not backbone.create:
        raise ConfigurationError(
            f"topics are missing: {', '.join(sorted(missing))}; make them with "
            f"`trunkline apply {flow} --env ENV`, or allow it with create = true"
        )
    if missing:
        create_topics(client, missing.values())
    return sorted(missing)


def create_topics(client: AdminClient, specs: Iterable[TopicSpec]) -> None:
    """Create topics of ``configured`` specs; one that is there already, as another worker was
    first, stays as it is. Raises ConfigurationError for what Kafka refuses."""
    made = client.create_topics(
        [
            NewTopic(
                spec.name,
                num_partitions=spec.partitions,
                replication_factor=spec.replication,
                config=spec.config,
            )
            for spec in specs
        ]
    )
    for name, future in made.items():
        _created(name, future.exception())


def configured(backbone: Backbone, specs: Iterable[TopicSpec]) -> list[TopicSpec]:
    """The specs as this environment wants them: with its replication, every setting that a topic
    is made with, and what ``[trunkline.topics]`` says of it. A topic that is ``like`` another one
    of them has its partitions."""
    found = {spec.name: _configured(backbone, spec) for spec in specs}
    return [
        replace(spec, partitions=found[spec.like].partitions) if spec.like in found else spec
        for spec in found.values()
    ]


def _configured(backbone: Backbone, spec: TopicSpec) -> TopicSpec:
    said = _said(backbone.topics, spec.name)
    partitions = int(said.pop("partitions", spec.partitions))
    replication = int(said.pop("replication", backbone.replication))
    config = {"max.message.bytes": str(TOPIC_MAX)}
    if spec.compact:
        config["cleanup.policy"] = "compact"
    if replication >= 3:
        config["min.insync.replicas"] = "2"
    config |= {**spec.config, **said}
    return replace(spec, partitions=partitions, replication=replication, config=config)


def _said(topics: Mapping[str, Mapping[str, str | int]], name: str) -> dict[str, str]:
    """What an environment says of a topic: the later pattern wins, and its name over all."""
    found: dict[str, str | int] = {}
    for pattern, settings in topics.items():
        if fnmatchcase(name, pattern):
            found |= settings
    return {key: str(value) for key, value in (found | dict(topics.get(name, {}))).items()}


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


def _created(name: str, failure: BaseException | None) -> None:
    if failure is None:
        return
    code = failure.args[0].code() if isinstance(failure, KafkaException) else None
    if isinstance(failure, KafkaException) and is_forbidden(failure):
        what = f"topic {name!r} cannot be created"
        raise unavailable(what, failure, topic=name, rights="Create") from failure
    if code != KafkaError.TOPIC_ALREADY_EXISTS:  # another worker was first
        raise ConfigurationError(f"topic {name!r} could not be created: {failure}") from failure
