"""Kafka and the registry as a plan sees them: what is there, and making it otherwise.

Questions are asked in batches: a thousand topics cost two requests to Kafka. Everything blocks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, Self

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import NewPartitions, OffsetSpec  # type: ignore[attr-defined]
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from trunkline import kafka, naming
from trunkline.admin.backlog import topic_backlog
from trunkline.admin.subjects import Subjects
from trunkline.errors import ConfigurationError, TrunklineError
from trunkline.params import Backbone
from trunkline.schemas.registry import registry_of
from trunkline.streams.plan.resources import (
    Difference,
    Resource,
    ResourceKind,
    ResourceState,
    ResourceStates,
)

TIMEOUT = 30.0
"""Seconds that Kafka has for one answer."""
MADE_AT_ONCE = 100
"""Topics that one request makes."""
VISIBLE_IN = 30.0
"""Seconds until every broker tells of what was changed."""


class Cluster(Protocol):
    """What planning needs of a cluster. ``KafkaCluster`` has it; tests have one in memory."""

    id: str

    def names(self, kind: ResourceKind) -> list[str]:
        """Every topic, group or subject that there is."""
        ...

    def look(self, resources: Iterable[Resource], schemas: Mapping[str, str]) -> ResourceStates:
        """Those of the resources that are there. ``schemas``: which is asked for, by subject: a
        subject that has it, in whichever version, is shown with it, else with its newest."""
        ...

    def read_by(self, group: str) -> set[str]:
        """The topics that a group has committed offsets of."""
        ...

    def holds(self, topic: str) -> str:
        """What would be lost with a topic, as "3 events that wait"; "" if nothing."""
        ...

    def speaks_against(self, subject: str, schema: str) -> Sequence[str]:
        """Why a schema cannot be the next of a subject; none if it can."""
        ...

    def mend(self, differences: Sequence[Difference]) -> Iterator[Difference]:
        """Make it so, in this order; yields each difference that is done."""
        ...


class KafkaCluster:
    """Kafka and the registry of a backbone. Each method raises KafkaUnavailable,
    RegistryUnavailable, and ConfigurationError for what is refused."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._client = kafka.admin(backbone)
        self._registry = registry_of(backbone)
        self._subjects = Subjects(self._registry)
        kafka.existing_topics(self._client)  # raises where Kafka does not answer
        with _told():
            found = self._client.describe_cluster(request_timeout=TIMEOUT).result()
        self.id = str(found.cluster_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._registry.close()

    def names(self, kind: ResourceKind) -> list[str]:
        """See ``Cluster.names``."""
        if kind == "subject":
            return self._registry.subjects()
        if kind == "topic":
            return list(kafka.existing_topics(self._client))
        with _told():
            listed = self._client.list_consumer_groups(request_timeout=TIMEOUT).result()
        return [group.group_id for group in listed.valid]

    def look(self, resources: Iterable[Resource], schemas: Mapping[str, str]) -> ResourceStates:
        """See ``Cluster.look``."""
        by_kind: dict[ResourceKind, list[str]] = {"topic": [], "subject": [], "group": []}
        for kind, name in resources:
            by_kind[kind].append(name)
        with ThreadPoolExecutor(1) as beside:  # the registry takes as long as Kafka
            subjects = beside.submit(self._subjects.look, by_kind["subject"], schemas)
            of_kafka = {**self._topics(by_kind["topic"]), **self._groups(by_kind["group"])}
            return {**of_kafka, **subjects.result()}

    def _topics(self, names: list[str]) -> dict[Resource, ResourceState]:
        with _told():
            there = self._client.list_topics(timeout=TIMEOUT).topics
        known = [name for name in names if name in there]
        if hidden := [name for name in names if name not in there]:
            # Else what an account may not see would be planned as what is missing.
            kafka.require_visible(self._client, hidden, TIMEOUT)
        found: dict[Resource, ResourceState] = {}
        for name, settings in self._settings(known).items():
            partitions = there[name].partitions
            replicas = min((len(p.replicas) for p in partitions.values()), default=0)
            numbers = {"partitions": str(len(partitions)), "replication": str(replicas)}
            found[Resource("topic", name)] = {**numbers, **settings}
        return found

    def _settings(self, names: list[str]) -> dict[str, dict[str, str]]:
        """Topics' settings; none of those that may not be seen."""
        found: dict[str, dict[str, str]] = {name: {} for name in names}
        if not names:
            return found
        asked = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        for resource, answer in self._client.describe_configs(
            asked, request_timeout=TIMEOUT
        ).items():
            try:
                entries = answer.result()
            except KafkaException as failure:
                code = failure.args[0].code()
                if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                    continue
                if code == KafkaError.UNKNOWN_TOPIC_OR_PART:  # it went meanwhile
                    del found[resource.name]
                    continue
                raise _unavailable(failure) from failure
            found[resource.name] = {name: e.value or "" for name, e in entries.items()}
        return found

    def _groups(self, names: list[str]) -> dict[Resource, ResourceState]:
        if not names:
            return {}
        known = sorted(set(names) & set(self.names("group")))
        found: dict[Resource, ResourceState] = {}
        if known:
            answers = self._client.describe_consumer_groups(known, request_timeout=TIMEOUT)
            for name, answer in answers.items():
                with _told():
                    members = answer.result().members
                found[Resource("group", name)] = {"members": str(len(members))}
        return found

    def read_by(self, group: str) -> set[str]:
        """See ``Cluster.read_by``."""
        asked = [ConsumerGroupTopicPartitions(group)]
        with _told():
            answer = self._client.list_consumer_group_offsets(asked, request_timeout=TIMEOUT)
            return {place.topic for place in answer[group].result().topic_partitions or ()}

    def holds(self, topic: str) -> str:
        """See ``Cluster.holds``: of an inbox or a retry topic what waits, else every record."""
        destination = naming.destination_of(naming.inbox_of(topic))
        if destination:
            waits = topic_backlog(self._backbone, destination, topic)
            events = (
                "1 event that waits" if waits.count == 1 else f"{waits.count:,} events that wait"
            )
            bound = "" if waits.exact else "at most "
            return f"{bound}{events}" if waits.count else ""
        count = self._records(topic)
        return f"up to {count:,} records" if count else ""

    def _records(self, topic: str) -> int:
        """How many offsets a topic holds, those of transactions' markers among them."""
        count = kafka.existing_topics(self._client).get(topic, 0)
        partitions = [TopicPartition(topic, number) for number in range(count)]
        latest = self._offsets(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        first = self._offsets(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        return latest - first

    def _offsets(self, partitions: list[TopicPartition], spec: OffsetSpec) -> int:
        if not partitions:
            return 0
        asked: dict[TopicPartition, OffsetSpec] = dict.fromkeys(partitions, spec)
        with _told():
            answers = self._client.list_offsets(asked, request_timeout=TIMEOUT)
            found: list[int] = [answer.result().offset for answer in answers.values()]
        return sum(found)

    def speaks_against(self, subject: str, schema: str) -> Sequence[str]:
        """See ``Cluster.speaks_against``."""
        return self._subjects.speaks_against(subject, schema)

    def mend(self, differences: Sequence[Difference]) -> Iterator[Difference]:
        """See ``Cluster.mend``. Returns once every broker that is asked tells of it."""
        for some in _pieces(differences):
            if (some[0].action, some[0].resource.kind) == ("create", "topic"):
                kafka.create_topics(self._client, map(_spec, some))
            else:
                self._mend(some[0])
            yield from some
        self._await(differences)

    def _mend(self, one: Difference) -> None:
        kind, name = one.resource
        if kind == "subject":
            self._subjects.mend(one)
        elif one.action == "delete" and kind == "topic":
            self._gone(self._client.delete_topics([name], operation_timeout=TIMEOUT)[name], one)
        elif one.action == "delete":
            self._gone(self._client.delete_consumer_groups([name])[name], one)
        else:
            self._alter_topic(name, one)

    def _alter_topic(self, name: str, one: Difference) -> None:
        settings = {key: value for key, value in one.becomes.items() if key != "partitions"}
        with _told(str(one.resource)):
            if "partitions" in one.becomes:
                more = NewPartitions(name, int(one.becomes["partitions"]))
                self._client.create_partitions([more])[name].result()
            if settings:
                entries = [
                    ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
                    for key, value in settings.items()
                ]
                asked = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
                self._client.incremental_alter_configs([asked])[asked].result()

    def _gone(self, answer: Any, one: Difference) -> None:
        try:
            answer.result()
        except KafkaException as failure:
            if failure.args[0].code() not in _GONE_BEFORE:
                raise _refused(failure, str(one.resource)) from failure

    def _await(self, differences: Sequence[Difference]) -> None:
        """Wait until a look shows what was done: brokers hear of it one after the other."""
        ours = {one.resource: one for one in differences if one.resource.kind == "topic"}
        deadline = time.monotonic() + VISIBLE_IN
        while ours:
            now = self._topics([resource.name for resource in ours])
            ours = {r: one for r, one in ours.items() if not _shows(now.get(r), one)}
            if ours and time.monotonic() > deadline:
                names = ", ".join(map(str, ours))
                raise kafka.KafkaUnavailable(
                    f"Kafka took the change of {names}, but does not show it yet: plan again"
                )
            time.sleep(0.1 if ours else 0)


_GONE_BEFORE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.GROUP_ID_NOT_FOUND)


def _shows(state: ResourceState | None, one: Difference) -> bool:
    if one.action == "delete" or state is None:
        return state is None and one.action == "delete"
    return all(state.get(name, value) == value for name, value in one.becomes.items())


def _pieces(differences: Sequence[Difference]) -> Iterator[list[Difference]]:
    """Topics that are made, many at once; everything else one by one."""
    piece: list[Difference] = []
    for one in differences:
        topic = one.action == "create" and one.resource.kind == "topic"
        if piece and (not topic or len(piece) == MADE_AT_ONCE):
            yield piece
            piece = []
        if topic:
            piece.append(one)
        else:
            yield [one]
    if piece:
        yield piece


def _spec(one: Difference) -> kafka.TopicSpec:
    config = dict(one.becomes)
    partitions, replication = int(config.pop("partitions")), int(config.pop("replication"))
    return kafka.TopicSpec(one.resource.name, partitions, config=config, replication=replication)


@contextmanager
def _told(what: str = "") -> Iterator[None]:
    """Turns what Kafka raises into an error of ours. ``what``: what was to be changed."""
    try:
        yield
    except KafkaException as failure:
        raise (_refused(failure, what) if what else _unavailable(failure)) from failure


def _refused(failure: KafkaException, what: str) -> TrunklineError:
    if kafka.is_forbidden(failure):
        name = what.partition(" ")[2]
        return kafka.unavailable(f"{what} cannot be changed", failure, topic=name, rights="Alter")
    return ConfigurationError(f"Kafka refuses to change {what}: {failure.args[0].str()}")


def _unavailable(failure: KafkaException) -> kafka.KafkaUnavailable:
    return kafka.unavailable("the cluster cannot be looked at", failure)
