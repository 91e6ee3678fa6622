"""The limits of the gateways' clients, changed while they run."""

from __future__ import annotations

import re

from trunkline import naming
from trunkline.access.policy import CLIENT_NAME
from trunkline.access.quota import Quota, Quotas, as_record, quota_key
from trunkline.admin.audit import put_audited
from trunkline.errors import ConfigurationError
from trunkline.kafka.reading import read_all
from trunkline.params import Backbone
from trunkline.streams.control.audit import AuditRecord


def change_quota(backbone: Backbone, client: str, quota: Quota | None, *, why: str = "") -> None:
    """Give a client these limits instead of those of ``access.toml``; None: those hold again. All
    gateways of the backbone obey within two seconds. Writes a control record and an audit record,
    and blocks until Kafka has both. Raises ConfigurationError, KafkaUnavailable."""
    if not re.fullmatch(CLIENT_NAME, client):
        raise ConfigurationError(f"{client!r} is no name of a client")
    audit = AuditRecord(
        what="quota" if quota else "quota cleared",
        on=client,
        why=why,
        more=as_record(quota) if quota else {},
    )
    value = None if quota is None else as_record(quota)
    put_audited(backbone, naming.GATEWAYS, {quota_key(client): value}, audit)


def changed_quotas(backbone: Backbone) -> dict[str, Quota]:
    """The limits that operators have given, by client. Blocks. Raises KafkaUnavailable."""
    found = Quotas()
    for message in read_all(backbone, naming.control(naming.GATEWAYS)):
        found.heard(message.key(), message.value())
    return dict(found.changed)
