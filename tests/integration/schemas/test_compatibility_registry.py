"""``trunkline schemas check`` beside a real registry: the same verdicts, and its versions."""

from __future__ import annotations

import json
import uuid

import httpx
import pytest

from schema_pairs import PAIRS, enum, record
from trunkline.schemas.compatibility.project import ProjectTypes, versions_in_registry
from trunkline.schemas.compatibility.resolve import incompatibilities
from trunkline.schemas.registry import Registry


def test_every_verdict_is_the_registrys(registry_url: str) -> None:
    """Asked for backward compatibility, as readers that are new: it says yes or no."""
    with Registry(registry_url) as registry, httpx.Client(base_url=registry_url) as client:
        for pair in PAIRS:
            subject = f"pair-{uuid.uuid4().hex[:8]}"
            registry.register(subject, json.dumps(pair.writer))
            client.put(f"/config/{subject}", json={"compatibility": "BACKWARD"})
            told = registry.compatible(subject, json.dumps(pair.reader))
            ours = incompatibilities(json.dumps(pair.reader), json.dumps(pair.writer))
            assert bool(told) == bool(ours), f"{pair.name}: the registry {told}, we {ours}"


def test_a_transitive_level_asks_for_each_version(
    registry_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = f"O{uuid.uuid4().hex[:8]}"
    subject = f"{name}-value"
    folder = tmp_path_factory.mktemp("project")
    (folder / "shop").mkdir()
    first = record(("id", "string"), ("s", enum("open")), name=name)
    second = record(("id", "string"), ("s", enum("open", "paid", default="open")), name=name)
    file = folder / "shop" / f"{name}.avsc"
    file.write_text(json.dumps(second))
    with Registry(registry_url) as registry, httpx.Client(base_url=registry_url) as client:
        client.put(f"/config/{subject}", json={"compatibility": "NONE"})
        for schema in (first, second):
            registry.register(subject, json.dumps(schema))
        types = ProjectTypes(folder)
        assert types.findings(versions_in_registry(registry, types.schemas)) == []
        client.put(f"/config/{subject}", json={"compatibility": "FULL"})
        assert types.findings(versions_in_registry(registry, types.schemas)) == []
        client.put(f"/config/{subject}", json={"compatibility": "FULL_TRANSITIVE"})
        found = types.findings(versions_in_registry(registry, types.schemas))
    assert [(one.version, one.rule) for one in found] == [(f"{subject} version 1", "forward")]
