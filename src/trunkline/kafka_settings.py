"""Which settings of librdkafka, and of topics, a user may give, which are Trunkline's own, and why.

The names are those of librdkafka's CONFIGURATION.md. Nothing here needs librdkafka: a flow's
environment is checked where no Kafka is.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ALL = _names(
    """
    api.version.fallback.ms api.version.request api.version.request.timeout.ms
    broker.address.family broker.address.ttl broker.version.fallback client.dns.lookup client.id
    client.rack connections.max.idle.ms debug enable.metrics.push enable.random.seed
    enable.sasl.oauthbearer.unsecure.jwt enable.ssl.certificate.verification https.ca.location
    https.ca.pem internal.termination.signal log.connection.close log.thread.name log_level
    message.copy.max.bytes message.max.bytes metadata.max.age.ms
    metadata.recovery.rebootstrap.trigger.ms metadata.recovery.strategy plugin.library.paths
    receive.message.max.bytes reconnect.backoff.jitter.ms reconnect.backoff.max.ms
    reconnect.backoff.ms retry.backoff.max.ms retry.backoff.ms sasl.kerberos.keytab
    sasl.kerberos.kinit.cmd sasl.kerberos.min.time.before.relogin sasl.kerberos.principal
    sasl.kerberos.service.name sasl.mechanism sasl.mechanisms
    sasl.oauthbearer.assertion.algorithm sasl.oauthbearer.assertion.claim.aud
    sasl.oauthbearer.assertion.claim.exp.seconds sasl.oauthbearer.assertion.claim.iss
    sasl.oauthbearer.assertion.claim.jti.include sasl.oauthbearer.assertion.claim.nbf.seconds
    sasl.oauthbearer.assertion.claim.sub sasl.oauthbearer.assertion.file
    sasl.oauthbearer.assertion.jwt.template.file sasl.oauthbearer.assertion.private.key.file
    sasl.oauthbearer.assertion.private.key.passphrase sasl.oauthbearer.assertion.private.key.pem
    sasl.oauthbearer.client.credentials.client.id
    sasl.oauthbearer.client.credentials.client.secret sasl.oauthbearer.client.id
    sasl.oauthbearer.client.secret sasl.oauthbearer.config sasl.oauthbearer.extensions
    sasl.oauthbearer.grant.type sasl.oauthbearer.metadata.authentication.type
    sasl.oauthbearer.method sasl.oauthbearer.scope sasl.oauthbearer.sub.claim.name
    sasl.oauthbearer.token.endpoint.url sasl.password sasl.username security.protocol
    socket.blocking.max.ms socket.connection.setup.timeout.ms socket.keepalive.enable
    socket.max.fails socket.nagle.disable socket.receive.buffer.bytes socket.send.buffer.bytes
    socket.timeout.ms ssl.ca.certificate.stores ssl.ca.location ssl.ca.pem
    ssl.certificate.location ssl.certificate.pem ssl.cipher.suites ssl.crl.location
    ssl.curves.list ssl.endpoint.identification.algorithm ssl.engine.id ssl.engine.location
    ssl.key.location ssl.key.password ssl.key.pem ssl.keystore.location ssl.keystore.password
    ssl.providers ssl.sigalgs.list statistics.interval.ms topic.metadata.propagation.max.ms
    topic.metadata.refresh.fast.cnt topic.metadata.refresh.fast.interval.ms
    topic.metadata.refresh.interval.ms topic.metadata.refresh.sparse
    """
)
CONSUMERS = _names(
    """
    check.crcs coordinator.query.interval.ms fetch.error.backoff.ms fetch.max.bytes
    fetch.message.max.bytes fetch.min.bytes fetch.queue.backoff.ms fetch.wait.max.ms
    group.instance.id heartbeat.interval.ms max.partition.fetch.bytes max.poll.interval.ms
    queued.max.messages.kbytes queued.min.messages session.timeout.ms
    """
)
"""What librdkafka would tell producers to ignore, with a warning each."""
PRODUCERS = _names(
    """
    batch.num.messages batch.size compression.codec compression.level compression.type
    delivery.timeout.ms enable.gapless.guarantee linger.ms message.send.max.retries
    message.timeout.ms queue.buffering.backpressure.threshold queue.buffering.max.kbytes
    queue.buffering.max.messages queue.buffering.max.ms request.timeout.ms retries
    sticky.partitioning.linger.ms transaction.timeout.ms
    """
)
"""What librdkafka would tell consumers to ignore."""
NAMES = _ALL | CONSUMERS | PRODUCERS
"""Every setting that may be given."""

_ADDRESS = "the addresses stand in `bootstrap` (TRUNKLINE_BOOTSTRAP)"
_GROUP = "each step reads in a group of its own, named after the flow, where its progress stands"
_OFFSETS = "a step commits an event's offset when it is done with, and not when it was read"
_ALL_EVENTS = "else an event that came before the first worker would never be read"
_COMMITTED = "else what an aborted transaction left would be delivered"
_DURABLE = "a source or a caller is told that an event is safe when all replicas have it"
_ONCE = "else an event would be written twice or out of order when Kafka is slow to answer"
_KEYS = "events of one key must be in one partition, whichever client wrote them"
_TOGETHER = "one worker must have partition i of an inbox and of its retry tiers"
_ENDS = "reading a topic to its end, and counting what Kafka has taken, depend on it"
_OWN_TRANSACTION = "a worker fences the one before it by ids that it makes itself"
_TOPICS = "topics are made with the partitions that the flow needs, or not at all (`create`)"

RESERVED: Mapping[str, str] = {
    "bootstrap.servers": _ADDRESS,
    "metadata.broker.list": _ADDRESS,
    "group.id": _GROUP,
    "enable.auto.commit": _OFFSETS,
    "auto.commit.enable": _OFFSETS,
    "auto.commit.interval.ms": _OFFSETS,
    "enable.auto.offset.store": _OFFSETS,
    "offset.store.method": _OFFSETS,
    "offset.store.path": _OFFSETS,
    "offset.store.sync.interval.ms": _OFFSETS,
    "auto.offset.reset": _ALL_EVENTS,
    "isolation.level": _COMMITTED,
    "acks": _DURABLE,
    "request.required.acks": _DURABLE,
    "enable.idempotence": _ONCE,
    "max.in.flight": _ONCE,
    "max.in.flight.requests.per.connection": _ONCE,
    "queuing.strategy": _ONCE,
    "partitioner": _KEYS,
    "partition.assignment.strategy": _TOGETHER,
    "group.protocol": _TOGETHER,
    "group.protocol.type": _TOGETHER,
    "group.remote.assignor": _TOGETHER,
    "transactional.id": _OWN_TRANSACTION,
    "enable.partition.eof": _ENDS,
    "delivery.report.only.error": _ENDS,
    "produce.offset.report": _ENDS,
    "consume.callback.max.messages": _ENDS,
    "log.queue": _ENDS,
    "topic.blacklist": _ENDS,
    "allow.auto.create.topics": _TOPICS,
}
"""Settings that would undo a guarantee, each with the one that it would undo."""

LEAST_SESSION = 10_000
"""Milliseconds of a session at the least."""
_LEASE = "a worker that has lost Kafka would still send when another one has its partitions"

_SECRET = ("password", "secret", "passphrase", "pem", "sasl.oauthbearer.config")
_BY_VARIABLE = {name.replace(".", "_").upper(): name for name in (*NAMES, *RESERVED)}


def setting_of(variable: str) -> str:
    """The setting that the end of a variable's name stands for: of ``SASL_PASSWORD``
    ``sasl.password``; also of one that there is not, as it was meant."""
    return _BY_VARIABLE.get(variable.upper(), variable.lower().replace("_", "."))


def objection(name: str, value: str) -> str:
    """Why a setting is not taken, and what to do instead; "" if it is. Never shows the value."""
    if name == "session.timeout.ms" and value.isdecimal() and int(value) < LEAST_SESSION:
        return f"session.timeout.ms is below {LEAST_SESSION}, and {_LEASE}: make it longer"
    if name in NAMES:
        return _misunderstood(name, value)
    if name in RESERVED:
        return f"{name} is Trunkline's own ({RESERVED[name]}): take it out"
    near = difflib.get_close_matches(name, NAMES, 1)
    meant = f"did you mean {near[0]}?" if near else "see librdkafka's CONFIGURATION.md"
    return f"{name} is no setting of a Kafka client: {meant}"


_NUMBERS = (".ms", ".bytes", ".kbytes")
_FRACTIONS = ("linger.ms", "queue.buffering.max.ms")


def _misunderstood(name: str, value: str) -> str:
    """Why a value is another one than was meant: librdkafka reads 30 of ``30s``, and would look for
    a file that is called as a whole key."""
    whole = re.fullmatch(r"-?\d+", value.strip())
    if name.endswith(_NUMBERS) and name not in _FRACTIONS and not whole:
        unit = "milliseconds" if name.endswith(".ms") else name.rpartition(".")[2]
        return f"{name} is a whole number of {unit}"
    if name.endswith(".location") and "-----BEGIN" in value:
        inline = name.removesuffix("location") + "pem"
        instead = f": give what is in it as {inline}" if inline in NAMES else ""
        return f"{name} is the path of a file{instead}"
    return ""


_WHOLE = (".ms", ".bytes", "min.insync.replicas")


def of_topic(topic: str, said: Any) -> dict[str, str | int]:
    """What an environment says of a topic, as it is given. Raises ValueError for what is no setting
    of a topic, and for a value that cannot be one."""
    if not isinstance(said, Mapping):
        raise ValueError(f"what topic {topic!r} has is a table")  # noqa: TRY004 - for pydantic
    found: dict[str, str | int] = {}
    for key, value in said.items():
        if isinstance(value, Mapping):
            raise ValueError(  # noqa: TRY004 - for pydantic
                f"{key!r} of topic {topic!r} is a table: names with dots stand in quotes, as "
                '"retention.ms", and as [trunkline.topics."commerce.orders"]'
            )
        found[key] = (
            value if isinstance(value, int) and not isinstance(value, bool) else text(value)
        )
        if problem := _no_setting(key, str(found[key])):
            raise ValueError(f"{key!r} of topic {topic!r} {problem}")
    return found


def _no_setting(key: str, value: str) -> str:
    counted = key in ("partitions", "replication")
    if not counted and "." not in key:
        return (
            "is no setting: there are partitions, replication, and Kafka's own, in quotes, as "
            '"retention.ms"'
        )
    if counted and (not value.isdecimal() or int(value) < 1):
        return "is a number from 1 on"
    if key.endswith(_WHOLE) and not re.fullmatch(r"-?\d+", value):
        return "is a whole number, as 604800000"
    return ""


def flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The settings of a table by their whole names, as text: of ``ssl.ca.location = "ca.pem"``
    without quotes TOML makes tables in each other, and of 5 or true no text."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, text(value)


def text(value: Any) -> str:
    """A value of TOML as Kafka writes it: ``true``, and 30000 also of 30000.0."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def secrets(settings: Mapping[str, str]) -> list[str]:
    """The values among settings that nobody may read in a log, the longest first."""
    found = [text for name, text in settings.items() if text and name.endswith(_SECRET)]
    return sorted(found, key=len, reverse=True)
