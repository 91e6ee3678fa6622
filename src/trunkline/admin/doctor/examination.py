"""Everything at once: the machine, Kafka, the registry, flows and their systems."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from trunkline.admin.doctor.diagnosis import Diagnosis
from trunkline.admin.doctor.kafka_checks import examine_kafka
from trunkline.admin.doctor.machine import examine_machine, versions
from trunkline.admin.doctor.registry_checks import examine_registry
from trunkline.admin.doctor.systems import Called, call_within, examine_flow, examine_systems
from trunkline.params import Backbone
from trunkline.streams.flow.definition import Flow
from trunkline.streams.plan.acls import WORKER_ROLES

LONGEST = 90.0
"""Seconds that looking at one part may take."""


def examine(
    backbone: Backbone,
    flows: Sequence[Flow[Any]] = (),
    file: Mapping[str, Any] | None = None,
    *,
    environment: str = "",
    roles: Collection[str] = WORKER_ROLES,
    port: int = 0,
) -> Iterator[Diagnosis]:
    """Look at everything that these flows need, as this account, on this machine.

    ``file``: the tables of ``environments/<environment>.toml``. ``roles``: whose rights on Kafka
    are asked for. ``port``: of a worker's health pages, 0 for none. Yields what is found as it is
    found. Blocks; sends nothing to systems but connections and what sources' ``check`` asks, and
    writes nothing; but for the proof of transactional rights, an id that nobody uses. Raises
    nothing for what is wrong: that is told.
    """
    file = file or {}
    yield from examine_machine(backbone, flows, port)
    yield from _bounded("Kafka", lambda: list(examine_kafka(backbone, flows, roles)))
    yield from _bounded("registry", lambda: list(examine_registry(backbone)))
    for flow in flows:
        mistakes = list(examine_flow(flow, environment))
        yield from mistakes
        if not any(one.verdict == "wrong" for one in mistakes):
            yield from examine_systems(flow, file)
    yield versions()


def _bounded(area: str, look: Callable[[], list[Diagnosis]]) -> list[Diagnosis]:
    found: Called[list[Diagnosis]] = call_within(LONGEST, look)
    if found.late:
        return [Diagnosis(area, f"no answer within {LONGEST:.0f} s", "wrong", "is it overloaded?")]
    return found.result()
