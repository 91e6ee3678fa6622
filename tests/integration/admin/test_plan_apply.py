"""``trunkline plan`` and ``apply`` on a real Kafka and registry: what they make, and what a kill,
a stranger's change, an incompatible schema and events that wait do to them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from cluster_world import PASSWORD, World
from docs_pages import ROOT, blocks_of, words
from trunkline import kafka
from trunkline.schemas.registry import Registry
from worker_kit import eventually


@pytest.fixture
def world(
    bootstrap: str, registry_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> World:
    monkeypatch.chdir(tmp_path)
    return World(tmp_path, bootstrap, registry_url)


def test_apply_makes_what_plan_shows_and_the_second_time_nothing(world: World) -> None:
    code, said = world.plan()
    assert code == 2
    assert f"+ topic {world.name}.erp.retry.10s  partitions 2, replication 1" in said
    assert f"+ subject {world.name}.canonical-value: Order" in said
    assert world.topics() == {}, "planning makes nothing"
    code, said = world.apply()
    assert code == 0, said
    assert world.topics() == {
        **dict.fromkeys(("audit", "control", "shop.dlq", "shop.positions"), 1),
        **dict.fromkeys(("canonical", "erp.inbox", "erp.dlq"), 2),
        **dict.fromkeys(("erp.retry.10s", "erp.retry.1h"), 2),
    }
    assert world.plan() == (0, "nothing to do: the cluster has what the flows need\n")
    assert world.apply()[0] == 0


def test_many_topics_are_as_many_questions_as_few(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand topics are planned within seconds: Kafka is asked of all of them at once, and the
    registry at the most twice of a subject."""
    asked: Counter[str] = Counter()
    for owner, name in (
        *((AdminClient, name) for name in dir(AdminClient) if name.startswith(("desc", "list"))),
        (Registry, "_ask_at"),
    ):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name), asked, name))

    def questions() -> tuple[int, int]:
        world.apply()
        asked.clear()
        assert world.plan()[0] == 0
        to_registry = asked.pop("_ask_at")
        return to_registry, asked.total()

    world.write("erp")
    few, of_kafka = questions()
    world.write("erp", *(f"erp{number}" for number in range(20)))  # 80 topics and 20 subjects more
    many, of_kafka_then = questions()
    assert of_kafka_then == of_kafka
    assert many - few <= 2 * 20
    assert of_kafka < 15


def counted(function: Callable[..., Any], asked: Counter[str], name: str) -> Callable[..., Any]:
    def call(*given: Any, **more: Any) -> Any:
        asked[name] += 1
        return function(*given, **more)

    return call


def test_without_create_a_worker_names_what_is_missing_and_the_command(world: World) -> None:
    code, said = world.run("run", "orders.py", "--env", "it")
    assert code == 1
    assert f"topics are missing: {world.name}.audit, " in said
    assert "`trunkline apply orders.py --env ENV`" in said
    assert world.topics() == {}


def test_a_setting_is_put_right(world: World) -> None:
    world.apply()
    world.environment(erp_inbox={"retention.ms": 86_400_000})
    code, said = world.plan("--json")
    (one,) = json.loads(said)["differences"]
    assert (code, one["name"]) == (2, f"{world.name}.erp.inbox")
    assert one["becomes"] == {"retention.ms": "86400000"}
    assert world.apply()[0] == 0
    assert world.plan()[0] == 0


def test_more_partitions_of_what_holds_events_are_refused_by_name(world: World) -> None:
    world.apply()
    inbox = f"{world.name}.erp.inbox"
    world.produce(inbox)
    world.environment(erp_inbox={"partitions": 3})
    code, said = world.plan()
    assert code == 2
    assert "it holds 1 event that waits" in said
    code, said = world.apply()
    assert code == 1
    assert f"--force partitions:{inbox}" in said
    assert world.topics()["erp.inbox"] == 2
    assert world.apply("--force", f"partitions:{inbox}")[0] == 0
    assert {world.topics()[one] for one in ("erp.inbox", "erp.dlq", "erp.retry.1h")} == {3}


def test_an_incompatible_schema_is_refused_with_the_reason(world: World) -> None:
    world.apply()
    subject = f"{world.name}.canonical-value"
    with Registry(world.backbone.registry) as registry:
        registry._ask("PUT", f"/config/{subject}", {"compatibility": "BACKWARD"})
    world.write("erp", fields=({"name": "note", "type": "string", "default": ""},))
    code, said = world.plan()
    assert code == 2
    assert "Order, + note\n" in said
    assert world.apply()[0] == 0
    world.write("erp", fields=({"name": "total", "type": "int"},))
    code, said = world.plan()
    assert f"(--force schema:{subject})" in said
    assert "what version 2 wrote: Order.total: the reader needs the field" in said
    assert "version 1" not in said
    assert world.apply()[0] == 1
    names = [subject, f"{world.name}.erp.inbox-value"]
    code, said = world.apply("--json", *(f"--force=schema:{name}" for name in names))
    assert code == 0, said
    assert world.plan()[0] == 0
    with Registry(world.backbone.registry) as registry:
        rule = registry._ask("GET", f"/config/{subject}").member("compatibilityLevel", str)
    assert rule == "BACKWARD", "the subject's rule is as it was"


def test_a_transitive_rule_is_held_against_each_version(world: World) -> None:
    """Confluent and Apicurio blame the newest one only: that one has what the first lacks."""
    world.apply()
    subject = f"{world.name}.canonical-value"
    world.write("erp", fields=({"name": "note", "type": "string", "default": ""},))
    assert world.apply()[0] == 0
    with Registry(world.backbone.registry) as registry:
        registry._ask("PUT", f"/config/{subject}", {"compatibility": "BACKWARD_TRANSITIVE"})
    world.write("erp", fields=({"name": "note", "type": "string"},))
    code, said = world.plan()
    assert code == 2
    assert "what version 1 wrote: Order.note: the reader needs the field" in said
    assert "version 2" not in said
    assert f"(--force schema:{subject})" in said


def test_schemas_are_pushed_without_kafka(world: World) -> None:
    """Its address is wrong, and no topic is made; and what is pushed is what a plan wants."""
    text = (world.folder / "environments" / "it.toml").read_text()
    nowhere = text.replace(world.backbone.bootstrap, "127.0.0.1:1")
    (world.folder / "environments" / "alone.toml").write_text(nowhere)
    subjects = [f"{world.name}.{name}-value" for name in ("canonical", "erp.inbox")]
    with Registry(world.backbone.registry) as registry:
        code, said = world.run("schemas", "diff", "orders.py", "--env", "alone")
        assert (code, said.splitlines()) == (2, [f"+ subject {name}: Order" for name in subjects])
        code, said = world.run("schemas", "push", "orders.py", "--env", "alone", "--yes")
        assert (code, said.count("done: ")) == (0, 2)
        code, said = world.run("schemas", "diff", "orders.py", "--env", "alone")
        assert (code, said) == (0, "the registry has what the flows write\n")
        assert [registry.versions(name) for name in subjects] == [[1], [1]]

        for name in subjects:
            registry._ask("PUT", f"/config/{name}", {"compatibility": "FULL"})
        world.write("erp", fields=({"name": "note", "type": "string"},))
        code, said = world.run("schemas", "diff", "orders.py", "--env", "alone", "--json")
        told = json.loads(said)
        assert (code, [one["name"] for one in told]) == (2, subjects)
        code, said = world.run("schemas", "push", "orders.py", "--env", "alone", "--yes")
        assert code == 1
        assert "what version 1 wrote: Order.note: the reader needs the field" in said
        forced = [f"--force=schema:{name}" for name in subjects]
        code, said = world.run("schemas", "push", "orders.py", "--env", "alone", "--yes", *forced)
        assert (code, said.count("done: ")) == (0, 2)
        assert [registry.versions(name) for name in subjects] == [[1, 2], [1, 2]]


def test_what_a_flow_no_longer_has_is_removed_on_demand(world: World) -> None:
    world.write("erp", "crm")
    world.apply()
    inbox = f"{world.name}.crm.inbox"
    world.produce(inbox)
    with_group = kafka.consumer(world.backbone, f"{world.name}.crm")
    kept = dict.fromkeys(world.topics().keys() - {f"crm.{x}" for x in ("inbox", "dlq")})
    world.write("erp")
    code, said = world.plan()
    assert code == 0
    assert f"topic {inbox}: holds 1 event that waits" in said
    assert list(json.loads(world.plan("--prune", "--json")[1])["refused"]) == [f"events:{inbox}"]
    with_group.commit(offsets=[TopicPartition(inbox, p, 1) for p in (0, 1)], asynchronous=False)
    with_group.close()
    code, said = world.apply("--prune")
    assert code == 0, said
    assert f"done: - group {world.name}.crm" in said
    assert world.topics().keys() == kept.keys() - {"crm.retry.10s", "crm.retry.1h"}
    assert world.plan("--prune") == (0, "nothing to do: the cluster has what the flows need\n")


def test_a_saved_plan_is_applied_exactly_and_to_nothing_else(world: World) -> None:
    assert world.plan("--out", "p.json")[0] == 2
    assert PASSWORD not in Path("p.json").read_text()
    stranger = NewTopic(f"{world.name}.erp.dlq", 1, 1)
    client = kafka.admin(world.backbone)
    client.create_topics([stranger])[stranger.topic].result()
    eventually(lambda: "erp.dlq" in world.topics(), "the topic shows")
    code, said = world.run("apply", "p.json")
    assert code == 1
    assert "the cluster is no longer what the plan was made from" in said
    assert f"topic {world.name}.erp.dlq: " in said
    assert world.topics().keys() == {"erp.dlq"}
    client.delete_topics([stranger.topic])[stranger.topic].result()
    eventually(lambda: world.topics() == {}, "the topic is gone")
    world.write("erp", "crm")  # what was saved counts, and not the flow
    assert world.run("apply", "p.json")[0] == 0
    assert "crm.inbox" not in world.topics()


def test_an_apply_that_was_killed_is_ended_by_the_next(world: World) -> None:
    """The process is killed once it has told of its second change, and again a little later."""
    world.write("erp", "crm", "mart")
    assert world.plan("--out", "p.json")[0] == 2
    wanted = json.loads(Path("p.json").read_text())["differences"]
    for lines in (2, 16):
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "trunkline", "apply", "p.json"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert process.stdout is not None
        told = 0
        while told < lines and (line := process.stdout.readline()):
            told += line.startswith("done: ")
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    code, said = world.run("apply", "p.json")
    assert code == 0, said
    assert world.run("apply", "p.json", "--json")[1].count('"action"') == 0
    assert world.plan()[0] == 0
    topics = {one["name"] for one in wanted if one["kind"] == "topic"}
    assert {f"{world.name}.{name}" for name in world.topics()} == topics


PAGE = [line for block in blocks_of(ROOT / "docs" / "plan.md") for line in block.commands]


def test_the_commands_of_the_page_run(world: World) -> None:
    """In their order, on the page's flow under names of its own."""
    text = (ROOT / "examples" / "orders.py").read_text()
    (world.folder / "flows").mkdir()
    for old in ('Flow("orders"', '"commerce.orders"'):
        assert old in text
        text = text.replace(old, old.replace("orders", world.name))
    (world.folder / "flows" / "orders.py").write_text(text)
    environments = world.folder / "environments"
    (environments / "staging.toml").write_text((environments / "it.toml").read_text())
    (environments / "it.toml").rename(environments / "prod.toml")
    codes = {"plan": [2, 0, 0], "apply": [0, 0, 0], "diff": [0], "destroy": [0]}
    for line in PAGE:
        if line.startswith("trunkline "):
            command = [world.name if word == "orders" else word for word in words(line)[1:]]
            assert world.run(*command)[0] == codes[command[0]].pop(0), line
    assert not any(codes.values()), "each of them ran"
