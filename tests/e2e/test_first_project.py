"""From an empty folder to production, as docs/first-project.md and docs/ci.md lead.

On two clusters: the first one is the local stack of the first page, and then staging.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from docs_pages import ROOT, blocks_of
from pipeline_kit import DIGEST, MEANING, Github, Gitlab
from trunkline.admin.cluster import KafkaCluster
from trunkline.local.ports import free_port
from trunkline.local.stack import Endpoints, Stack
from trunkline.params import Backbone
from trunkline.streams.plan.resources import Difference, Resource, ResourceKind
from walk_kit import Reader, reader_environ

FIRST, CI = (blocks_of(ROOT / "docs" / page) for page in ("first-project.md", "ci.md"))
ELSEWHERE = ("trunkline up", "trunkline down")
"""Commands that make what this test has already: the servers."""
PERSON = {
    f"GIT_{role}_{what}": text
    for role in ("AUTHOR", "COMMITTER")
    for what, text in (("NAME", "Ada"), ("EMAIL", "ada@example.com"))
}


@pytest.fixture(scope="module")
def clusters(server_home: Path) -> Iterator[tuple[Endpoints, Endpoints]]:
    """Staging and prod, started side by side."""
    stacks = [
        Stack(server_home / name, kafka_port=0, registry_port=0) for name in ("staging", "prod")
    ]
    with ExitStack() as running, ThreadPoolExecutor(2) as pool:
        started = list(pool.map(running.enter_context, stacks))
        yield started[0].endpoints, started[1].endpoints


@pytest.fixture
def reader(tmp_path: Path, clusters: tuple[Endpoints, Endpoints]) -> Iterator[Reader]:
    shop = free_port()
    instead = {r"localhost:8085\b": f"localhost:{shop}"}
    for endpoints, ports in zip(clusters, (("9192", "8181"), ("9292", "8281")), strict=True):
        for address, port in zip((endpoints.bootstrap, endpoints.registry), ports, strict=True):
            instead[rf"127\.0\.0\.1:{port}\b"] = address.removeprefix("http://").split("/")[0]
    environ = {**reader_environ(), **PERSON}
    # Of a worker alone: `check` takes a parameter in its environment for a place to run in.
    port = {"TRUNKLINE_PARAMS_SHOP_PORT": str(shop)}
    with Reader(tmp_path, free_port(), instead, ELSEWHERE, environ, port).reading() as reader:
        yield reader


def test_from_an_empty_folder_to_production(
    reader: Reader, clusters: tuple[Endpoints, Endpoints]
) -> None:
    staging, prod = clusters
    local = {"TRUNKLINE_BOOTSTRAP": staging.bootstrap, "TRUNKLINE_REGISTRY": staging.registry}
    reader.environ |= local
    reader.follow(FIRST)
    reader.stop()
    for name in local:  # staging and prod have their addresses from their files alone
        del reader.environ[name]
    emptied(staging)

    reader.follow(CI)
    reader.stop()
    plan = json.loads((reader.folder / "plan-prod.json").read_text())
    created = {one["name"] for one in plan["differences"]}
    assert {one["action"] for one in plan["differences"]} == {"create"}
    assert "rehearsal" not in json.dumps(plan), "no secret stands in a plan"
    assert created <= names(prod, "topic", "subject")
    assert f"`{len(created)} to create`" in (ROOT / "docs" / "ci.md").read_text()


def test_the_pipeline_plans_applies_and_promotes(
    reader: Reader, clusters: tuple[Endpoints, Endpoints], tmp_path: Path
) -> None:
    """The jobs of GitHub's workflows; GitLab's have the same commands."""
    for command in ("trunkline init acme-flows", "cd acme-flows"):
        reader.run(command)
    for block in CI:
        if block.title.startswith("environments/"):
            reader.save(block)
    github = Github(reader.folder, tmp_path, meaning=MEANING, event="pull_request")
    github.job("check.yml", "plan", without=["Install"])
    summary = (tmp_path / "summary").read_text()
    assert summary.startswith("```text\n")
    assert "to create" in summary or "nothing to do" in summary
    github.event = "push"
    for job in ("staging", "plan-prod", "prod"):
        github.job("deliver.yml", job, without=["Install"])
    assert names(clusters[0], "topic") >= {"shop.orders", "orders.warehouse.inbox"}
    assert names(clusters[1], "topic") >= {"shop.orders", "orders.warehouse.inbox"}
    asked = github.asked.read_text().splitlines()
    assert [DIGEST in line for line in asked] == [True, True]  # the same image, twice


def test_gitlabs_pipeline_plans_applies_and_promotes(
    reader: Reader, clusters: tuple[Endpoints, Endpoints], tmp_path: Path
) -> None:
    """On the clusters themselves; what builds and rolls out is tested where no cluster is."""
    for command in ("trunkline init acme-gitlab", "cd acme-gitlab"):
        reader.run(command)
    for block in CI:
        if block.title.startswith("environments/"):
            reader.save(block)
    gitlab = Gitlab(reader.folder, tmp_path)
    install = ["python -m pip install -e '.[dev]'"]
    said = gitlab.job("plan", without=install)
    assert "to create" in said or "nothing to do" in said
    gitlab.job("staging-apply", without=install)
    said = gitlab.job("plan-prod", without=install)
    assert "to create" in said or "nothing to do" in said
    gitlab.job("prod-apply", without=install)
    assert "nothing to do" in gitlab.job("plan-prod", without=install)
    for cluster in clusters:
        assert names(cluster, "topic") >= {"shop.orders", "orders.warehouse.inbox"}


def cluster_of(endpoints: Endpoints) -> KafkaCluster:
    return KafkaCluster(Backbone(bootstrap=endpoints.bootstrap, registry=endpoints.registry))


def names(endpoints: Endpoints, *kinds: ResourceKind) -> set[str]:
    with cluster_of(endpoints) as cluster:
        return {name for kind in kinds for name in cluster.names(kind)}


def emptied(endpoints: Endpoints) -> None:
    """As if no flow had run on it."""
    kinds: tuple[ResourceKind, ...] = ("group", "topic", "subject")
    with cluster_of(endpoints) as cluster:
        there = [Resource(kind, name) for kind in kinds for name in cluster.names(kind)]
        ours = [one for one in there if one.name.startswith(("orders.", "shop.", "trunkline."))]
        assert len(ours) > 10
        list(cluster.mend([Difference(one, "delete") for one in ours]))
