"""Kafka: whether it lets us in, what its brokers allow, what flows lack there, and rights."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from trunkline import kafka
from trunkline.admin.doctor.diagnosis import Diagnosis
from trunkline.admin.planning import plan_flows
from trunkline.errors import RegistryRefused, RegistryUnavailable, TrunklineError
from trunkline.kafka.clients import TRANSACTION_TIMEOUT
from trunkline.kafka.topics import require_answer
from trunkline.params import Backbone
from trunkline.streams.deliver.offsets import METADATA_LIMIT
from trunkline.streams.flow.definition import Flow
from trunkline.streams.plan.needs import needs_of
from trunkline.streams.worker.access import AccessMonitor

AREA = "Kafka"
TIMEOUT = 15.0
"""Seconds that Kafka has for one answer."""
SESSION = 10_000
"""Milliseconds of our consumers' session.timeout.ms."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A broker's setting that must not be below ``least``, or above ``most``, and why."""

    name: str
    why: str
    least: int = 0
    most: int = 1 << 62


LIMITS = (
    Limit(
        "offset.metadata.max.bytes",
        "how far a destination is delivered is in the metadata of a commit",
        least=METADATA_LIMIT,
    ),
    Limit("group.min.session.timeout.ms", "it is the session of our consumers", most=SESSION),
    Limit("group.max.session.timeout.ms", "it is the session of our consumers", least=SESSION),
    Limit(
        "transaction.max.timeout.ms",
        "it is the longest transaction",
        least=round(TRANSACTION_TIMEOUT * 1000),
    ),
)


def examine_kafka(
    backbone: Backbone, flows: Sequence[Flow[Any]], roles: Collection[str]
) -> Iterator[Diagnosis]:
    """Everything about Kafka; only the reason, where it lets nobody in. Blocks."""
    try:
        client = kafka.admin(backbone)
        require_answer(client)
        found = client.describe_cluster(request_timeout=TIMEOUT).result()
    except TrunklineError as error:
        yield Diagnosis(AREA, str(error), "wrong")
        return
    except KafkaException as failure:
        yield Diagnosis(AREA, f"the cluster cannot be looked at: {failure.args[0].str()}", "wrong")
        return
    brokers = len(found.nodes)
    protocol = backbone.kafka.get("security.protocol", "PLAINTEXT")
    many = f"{brokers} broker{'' if brokers == 1 else 's'}"
    what = f"{backbone.bootstrap} answers, by {protocol}: cluster {found.cluster_id}, {many}"
    yield Diagnosis(AREA, what)
    settings = broker_settings(client, found.nodes[0].id) if found.nodes else {}
    yield from of_settings(settings, brokers)
    yield from _of_flows(backbone, flows, brokers)
    for flow in flows:
        yield _rights(backbone, flow, roles)


def broker_settings(client: AdminClient, broker: int) -> dict[str, str]:
    """A broker's settings; none where we may not see them."""
    resource = ConfigResource(ResourceType.BROKER, str(broker))
    try:
        (answer,) = client.describe_configs([resource], request_timeout=TIMEOUT).values()
        return {name: entry.value or "" for name, entry in answer.result().items()}
    except KafkaException:  # that needs a right which no flow does
        return {}


def of_settings(settings: Mapping[str, str], brokers: int) -> Iterator[Diagnosis]:
    """What of a broker's settings keeps flows from running, or endangers what they write."""
    if not settings:
        yield Diagnosis(AREA, "its settings may not be seen by this account: they are not judged")
        return
    found = [*_beyond_limits(settings), *_of_copies_of_state(settings, brokers)]
    yield from found or [Diagnosis(AREA, "its settings suit what flows do")]


def _beyond_limits(settings: Mapping[str, str]) -> Iterator[Diagnosis]:
    for limit in LIMITS:
        value = _number(settings, limit.name)
        if value is None or limit.least <= value <= limit.most:
            continue
        bound = f"at least {limit.least}" if value < limit.least else f"at most {limit.most}"
        what = f"the brokers' {limit.name} is {value}: {limit.why}"
        yield Diagnosis(AREA, what, "wrong", f"set it to {bound} at each broker")


def _of_copies_of_state(settings: Mapping[str, str], brokers: int) -> Iterator[Diagnosis]:
    """Of Kafka's own topics, which hold transactions and the progress of groups."""
    for kind in ("transaction.state.log", "offsets.topic"):
        copies = _number(settings, f"{kind}.replication.factor")
        if copies is not None and copies < 3 <= brokers:
            what = f"the brokers' {kind}.replication.factor is {copies}, of {brokers} brokers"
            mend = "3, or a lost broker takes the progress of flows along; set it before first use"
            yield Diagnosis(AREA, what, "warning", mend)
    copies = _number(settings, "transaction.state.log.replication.factor")
    least = _number(settings, "transaction.state.log.min.isr")
    if copies is not None and least is not None and least > (there := min(copies, brokers)):
        what = f"transaction.state.log.min.isr is {least}, and there are {there} copies"
        mend = "no transaction can be written so: start more brokers, or lower it"
        yield Diagnosis(AREA, what, "wrong", mend)


def _number(settings: Mapping[str, str], name: str) -> int | None:
    text = settings.get(name, "")
    return int(text) if text.isdecimal() else None


def _of_flows(backbone: Backbone, flows: Sequence[Flow[Any]], brokers: int) -> Iterator[Diagnosis]:
    """How many copies flows want, beside the brokers that there are; and what the plan says."""
    if not flows:
        return
    yield from of_copies(backbone, flows, brokers)
    try:
        plan = plan_flows(backbone, flows)
    except (RegistryUnavailable, RegistryRefused):
        return  # it is examined itself, and told
    except TrunklineError as error:
        yield Diagnosis(AREA, str(error), "wrong")
        return
    files = " ".join(flow.place.file.rpartition("/")[2] for flow in flows)
    mend = f"trunkline plan {files} shows all of it, trunkline apply makes it so"
    refused = plan.refusals
    for name, why in refused.items():
        yield Diagnosis(AREA, f"{name}: {why}", "wrong", mend)
    new = [one for one in plan.differences if not one.refused and one.action == "create"]
    other = [one for one in plan.differences if not one.refused and one.action != "create"]
    if new:
        made = "they are made when a worker starts" if backbone.create else "create is false"
        what = f"{len(new)} topics and schemas are missing: {made}"
        yield Diagnosis(AREA, what, "ok" if backbone.create else "wrong", mend)
    if other:
        what = f"{len(other)} topics or schemas are otherwise than these flows want"
        yield Diagnosis(AREA, what, "warning", mend)
    if not plan.differences:
        yield Diagnosis(AREA, "all topics and schemas of these flows are as they want")


def of_copies(backbone: Backbone, flows: Sequence[Flow[Any]], brokers: int) -> Iterator[Diagnosis]:
    """Replication and min.insync.replicas that flows want, beside the brokers that there are."""
    try:
        specs = needs_of(flows, backbone).topics.values()
    except TrunklineError as error:
        yield Diagnosis(AREA, str(error), "wrong")
        return
    most = max((spec.replication for spec in specs), default=0)
    least = min((spec.replication for spec in specs), default=0)
    mend = "set replication in [trunkline] of the environment"
    if most > brokers:
        what = f"topics want {most} copies, and there are {brokers} brokers: none can be made"
        yield Diagnosis(AREA, what, "wrong", mend)
    if least < 3 <= brokers:
        what = f"topics want {least} cop{'y' if least == 1 else 'ies'}, of {brokers} brokers"
        what = f"{what}: a broker that is lost takes events along"
        yield Diagnosis(AREA, what, "warning", f"{mend} to 3")
    for spec in specs:
        insync = int(spec.config.get("min.insync.replicas", "1"))
        if insync > spec.replication:
            what = f"{spec.name} wants min.insync.replicas {insync}, of {spec.replication} copies"
            mend = "nothing can be written so: lower it in [trunkline.topics], or want more copies"
            yield Diagnosis(AREA, what, "wrong", mend)
        elif insync == spec.replication > 1:
            what = f"{spec.name} wants {insync} of {spec.replication} copies in sync"
            mend = "a broker that restarts stops all writing: want one copy more"
            yield Diagnosis(AREA, what, "warning", mend)


def _rights(backbone: Backbone, flow: Flow[Any], roles: Collection[str]) -> Diagnosis:
    try:
        missing = AccessMonitor(flow, roles, backbone).missing()
    except kafka.KafkaUnavailable as error:
        return Diagnosis(AREA, f"{flow.name}: {error}", "wrong")
    if missing:
        return Diagnosis(AREA, f"{flow.name}: {missing}", "wrong")
    return Diagnosis(AREA, f"{flow.name}: this account lacks no right ({', '.join(roles)})")
