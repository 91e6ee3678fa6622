"""The registry as a plan sees it, and what of flows' schemas it lacks: no Kafka is asked.

For pipelines that may write to the registry and not to Kafka, or before everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from trunkline.errors import ConfigurationError
from trunkline.params import Backbone
from trunkline.schemas.compatibility.project import against_subject
from trunkline.schemas.registry import Registry, registry_of
from trunkline.streams.flow.definition import Flow
from trunkline.streams.plan.differences import Facts, differences, order, refuse, risky
from trunkline.streams.plan.needs import needs_of
from trunkline.streams.plan.resources import Difference, Resource, ResourceState

ASKED_AT_ONCE = 8
"""Questions to the registry side by side."""
FORCED = "incompatible, and forced"
"""The note of a schema that is registered whatever the subject's rule says."""


class Subjects:
    """The subjects of a registry. Each method raises RegistryUnavailable, RegistryRefused."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def look(
        self, names: Iterable[str], schemas: Mapping[str, str]
    ) -> dict[Resource, ResourceState]:
        """Those of the subjects that are there. ``schemas``: as ``Cluster.look``."""
        names = list(names)
        if not names:
            return {}
        there = set(self._registry.subjects())
        known = [name for name in names if name in there]

        def schema(name: str) -> str | None:
            wanted = schemas.get(name)
            has = wanted is not None and self._registry.has(name, wanted)
            return wanted if has else self._registry.latest(name)

        with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
            found = dict(zip(known, pool.map(schema, known), strict=True))
        return {Resource("subject", n): {"schema": s} for n, s in found.items() if s is not None}

    def speaks_against(self, subject: str, schema: str) -> Sequence[str]:
        """As ``Cluster.speaks_against``."""
        return against_subject(self._registry, subject, schema)

    def mend(self, one: Difference) -> None:
        """Make it so. Raises ConfigurationError for what the registry refuses."""
        name, schema = one.resource.name, one.becomes.get("schema", "")
        if one.action == "delete":
            self._registry.delete(name)
        elif one.note == FORCED:
            self._registry.register_whatever(name, schema)
        else:
            self._registry.register(name, schema)


def compare_schemas(
    backbone: Backbone, flows: Iterable[Flow[Any]], *, force: Iterable[str] = ()
) -> list[Difference]:
    """What the registry lacks of the schemas that these flows write with: subjects that are not
    there, and versions; each with what speaks against it. ``force``: as ``plan_flows``. Blocks;
    writes nothing. Raises ConfigurationError, RegistryUnavailable, RegistryRefused."""
    needs = replace(needs_of(flows, backbone), topics={})
    with registry_of(backbone) as registry:
        subjects = Subjects(registry)
        found, _ = differences(needs, subjects.look(needs.schemas, needs.schemas))
        _, names = risky(found, needs)
        against = {
            name: tuple(subjects.speaks_against(name, needs.schemas[name])) for name in names
        }
    return forced(refuse(order(found), needs, Facts({}, against)), frozenset(force))


def push_schemas(backbone: Backbone, found: Sequence[Difference]) -> Iterator[Difference]:
    """Register what ``compare_schemas`` found; yields each difference that is done. Raises
    ConfigurationError, and does nothing, if something of it is refused."""
    refused = {name: why for one in found for name, why in one.refused.items()}
    if refused:
        reasons = "\n".join(f"{name}: {why}" for name, why in refused.items())
        flags = " ".join(f"--force {name}" for name in refused)
        raise ConfigurationError(
            f"refused, and nothing is done:\n{reasons}\nif it is meant all the same: {flags}"
        )
    with registry_of(backbone) as registry:
        subjects = Subjects(registry)
        for one in found:
            subjects.mend(one)
            yield one


def forced(judged: Sequence[Difference], names: frozenset[str]) -> list[Difference]:
    """The differences without those refusals that are named. Raises ConfigurationError for a name
    that nothing is refused for."""
    known = {name for one in judged for name in one.refused}
    if unknown := sorted(names - known):
        there = ", ".join(sorted(known)) or "nothing is refused"
        raise ConfigurationError(f"--force {unknown[0]}: {there}")
    found = []
    for one in judged:
        freed = one.forced(names)
        is_schema = one.resource.kind == "subject" and freed.refused != one.refused
        found.append(replace(freed, note=FORCED) if is_schema else freed)
    return found
