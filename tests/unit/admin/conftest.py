"""What functions of the room write, without a Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from trunkline.admin import dead_letters, destinations, replays
from trunkline.params import Backbone
from trunkline.streams.control.audit import AuditRecord


@dataclass
class Written:
    """The transactions, in their order: the flow, its control records, the audit record."""

    transactions: list[tuple[str, Mapping[str, Any], AuditRecord]] = field(default_factory=list)

    def put(
        self, backbone: Backbone, flow: str, changes: Mapping[str, Any], audit: AuditRecord
    ) -> None:
        """Stands for ``put_audited``."""
        del backbone
        self.transactions.append((flow, dict(changes), audit))

    def writer(self, backbone: Backbone, flow: str, what: str, *, role: str) -> Writer:
        """Stands for ``AuditedWriter``."""
        del backbone, what, role
        return Writer(self, flow)

    @property
    def only(self) -> tuple[str, Mapping[str, Any], AuditRecord]:
        """The one transaction that there is."""
        (transaction,) = self.transactions
        return transaction


@dataclass
class Writer:
    """One command's transaction."""

    to: Written
    flow: str

    def put(self, changes: Mapping[str, Any], audit: AuditRecord) -> None:
        """See ``AuditedWriter.put``."""
        self.to.transactions.append((self.flow, dict(changes), audit))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    """Each destination is there; what is written is kept here."""
    found = Written()
    monkeypatch.setattr(dead_letters, "AuditedWriter", found.writer)
    monkeypatch.setattr(dead_letters, "read_control", lambda backbone, topic: {})
    for module in (destinations, replays):
        monkeypatch.setattr(module, "put_audited", found.put)
    monkeypatch.setattr(destinations, "require_destination", lambda backbone, target: None)
    return found
