"""``trunkline dlq`` on real Kafka: letters as workers write them, each in a transaction."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from engine_kit import Kit, Scripted, delivering, eventually, order
from tests.kits.control_kit import put_control
from trunkline import ConfigurationError, Event, Rejected, kafka
from trunkline.admin.audit import read_audit
from trunkline.cli import app
from trunkline.cli.progress import follow
from trunkline.schemas.commerce import Order
from trunkline.streams.control import topic as control
from trunkline.streams.control.kafka_topic import read_control
from trunkline.streams.control.records import HandledKey
from trunkline.streams.dlq.envelope import dead_letter
from trunkline.streams.dlq.handled import NO_ORIGIN, Handled, HandledLetters, OffsetSet, origin_of
from trunkline.streams.dlq.letters import DeadLetter, DeadLetterFilter
from trunkline.streams.dlq.queue import DeadLetterQueue

NOON = 1_767_268_800.0
"""2026-01-01T12:00Z."""


@pytest.fixture(scope="module")
def kit(bootstrap: str, registry_url: str) -> Iterator[Kit]:
    made = Kit(bootstrap, registry_url)
    yield made
    made.close()


@dataclass(frozen=True)
class Letters:
    """A flow's name, and the commands on its dead letters."""

    kit: Kit
    flow: str

    def queue(self, name: str = "erp") -> DeadLetterQueue:
        state = read_control(self.kit.backbone, f"{self.flow}.control")
        return DeadLetterQueue(
            self.kit.backbone, f"{self.flow}.{name}.dlq", HandledLetters(state, name)
        )

    def listed(self, *arguments: str, name: str = "erp") -> list[dict[str, Any]]:
        text = self.told("list", *arguments, "--json", name=name).stdout
        return [json.loads(line) for line in text.splitlines()]

    def told(self, command: str, *arguments: str, name: str = "erp", input: str = "") -> Result:
        """What a command says; it must succeed."""
        result = self.run(command, *arguments, name=name, input=input)
        assert result.exit_code == 0, (result.output, result.exception)
        return result

    def run(self, command: str, *arguments: str, name: str = "erp", input: str = "") -> Result:
        there = self.kit.backbone
        env = {"TRUNKLINE_BOOTSTRAP": there.bootstrap, "TRUNKLINE_REGISTRY": there.registry}
        command_line = ["dlq", command, f"{self.flow}.{name}", *arguments]
        return CliRunner(env=env).invoke(app, command_line, input=input)

    @property
    def requests(self) -> dict[str, dict[str, Any]]:
        state = read_control(self.kit.backbone, f"{self.flow}.control")
        return {key: value for key, value in state.items() if key.startswith("replay/")}


def buried(kit: Kit, flow: str, name: str, letters: list[Any]) -> None:
    """Write letters, each in a transaction of its own, so that markers stand between."""
    producer = kafka.producer(kit.backbone, transactional_id=uuid.uuid4().hex)
    producer.init_transactions(30)
    for letter in letters:
        kafka.transact(producer, [dead_letter(f"{flow}.{name}.dlq", **letter)])


def died(kit: Kit, key: bytes | None, value: bytes | None, why: str, **more: Any) -> dict[str, Any]:
    """What delivery knows of a letter, for ``dead_letter``."""
    headers = kit.event("k", more.pop("id", "1"))[2]
    given: dict[str, Any] = {
        "key": key,
        "value": value,
        "headers": [*headers, ("tl_from", b"orders/1/7/1")],
        "came_from": "erp.inbox/1/9",
        "stage": "deliver",
        "error": Rejected(why),
        "attempts": 3,
        "at": NOON,
    }
    return {**given, **more}


RAW = bytes(range(256))


@pytest.fixture(scope="module")
def letters(kit: Kit) -> Letters:
    """Dead letters that are only looked at."""
    return written(kit)


@pytest.fixture
def fresh(kit: Kit) -> Letters:
    """Dead letters to do something with."""
    return written(kit)


def written(kit: Kit) -> Letters:
    """Three letters of one cause, one whose value is no Avro, one without a key; and a source's."""
    flow = f"dlq-{uuid.uuid4().hex[:8]}"
    topics = [f"{flow}.erp.inbox", f"{flow}.erp.dlq", f"{flow}.shop.dlq"]
    kafka.ensure_topics(kit.backbone, [kafka.TopicSpec(topic, 2) for topic in topics])
    paid = kit.encode(order(7))
    unknown = [
        died(kit, b"k%d" % n, paid, f"customer {n} is unknown", id=f"u{n}", at=NOON + 60 * n)
        for n in range(3)
    ]
    raw = died(kit, b"\xff", RAW, "not in the wire format", id="raw")
    nobody = died(kit, None, None, "the event has no key", id="nobody", stage="route")
    buried(kit, flow, "erp", [*unknown, raw, {**nobody, "came_from": "orders/0/4"}])
    row = {"stage": "publish", "came_from": "public.orders", "error": KeyError("status")}
    buried(kit, flow, "shop", [died(kit, b"9", b'{"data": {"id": 9}}', "", **row)] * 2)
    return Letters(kit, flow)


def test_every_letter_is_read_to_the_byte(letters: Letters) -> None:
    found = {letter.event_id: letter for letter in letters.queue().letters()}
    assert set(found) == {"u0", "u1", "u2", "raw", "nobody"}
    assert (found["raw"].key, found["raw"].value) == (b"\xff", RAW)
    assert (found["nobody"].key, found["nobody"].value) == (None, None)


def test_what_arrives_later_is_not_part_of_the_queue(fresh: Letters) -> None:
    queue = fresh.queue()
    buried(fresh.kit, fresh.flow, "erp", [died(fresh.kit, b"late", b"", "too late")] * 9)
    assert len(list(queue.letters())) == 5
    assert len(list(fresh.queue().letters())) == 14


def test_an_empty_queue_has_no_letters(kit: Kit) -> None:
    topic = f"dlq-{uuid.uuid4().hex[:8]}.erp.dlq"
    kafka.ensure_topics(kit.backbone, [kafka.TopicSpec(topic, 3)])
    assert list(DeadLetterQueue(kit.backbone, topic, HandledLetters({}, "erp")).letters()) == []


def test_a_letter_is_found_by_its_place(letters: Letters) -> None:
    queue = letters.queue()
    for letter in queue.letters():
        assert queue.at(letter.partition, letter.offset) == letter
    assert queue.at(7, 0) is None
    behind = queue.ranges[letter.topic, 0].stop
    assert queue.at(0, behind) is None
    assert queue.at(0, behind - 1) is None, "the last offset is a transaction's marker"


def test_list_shows_each_letter_in_a_line(letters: Letters) -> None:
    text = letters.told("list").output
    assert re.search(r"2026-01-01 12:01:00Z +k1 .* Rejected +customer 1 is unknown *\n", text)
    assert "0xff" in text
    assert len(text.splitlines()) == 6


def test_list_as_json_is_for_programs(letters: Letters) -> None:
    (one,) = letters.listed("--error", "Rejected", "--key", "k2")
    assert one["time"] == "2026-01-01T12:02:00+00:00"
    assert (one["id"], one["attempts"], one["came_from"]) == ("u2", 3, "erp.inbox/1/9")
    assert one["handled"] is False
    assert [letter["key"] for letter in letters.listed("--message", "no key")] == [None]


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["--since", "2026-01-01T12:01Z", "--until", "2026-01-01T13:02:00+01:00"], {"u1"}),
        (["--header", "ce_id=raw", "--header", "tl_stage=deliver"], {"raw"}),
        (["--message", "customer"], {"u0", "u1", "u2"}),
        (["--key", "0xff"], {"raw"}),
        (["--error", "KeyError"], set()),
        (["--since", "1d"], set()),
    ],
)
def test_filters(letters: Letters, arguments: list[str], ids: set[str]) -> None:
    assert {letter["id"] for letter in letters.listed(*arguments)} == ids


def test_list_says_that_there_is_more(letters: Letters) -> None:
    assert len(letters.listed("--limit", "2")) == 2
    assert "there are more than 2" in letters.told("list", "--limit", "2").output
    assert "there are more" not in letters.told("list", "--limit", "5").output


def test_group_tells_causes(letters: Letters) -> None:
    first, *others = json.loads(letters.told("group", "--json").output)
    assert (first["count"], first["message"]) == (3, "customer <n> is unknown")
    assert (first["first"], first["last"]) == (
        "2026-01-01T12:00:00+00:00",
        "2026-01-01T12:02:00+00:00",
    )
    assert [other["count"] for other in others] == [1, 1]
    assert "customer <n> is unknown" in letters.told("group").output
    of_it = letters.listed("--cause", first["cause"])
    assert {letter["id"] for letter in of_it} == {"u0", "u1", "u2"}


def test_show_decodes_what_is_avro(letters: Letters) -> None:
    (one,) = letters.listed("--key", "k1")
    text = letters.told("show", f"{one['partition']}/{one['offset']}").output
    assert '"total_cents": 100' in text
    assert "ce_id: u1\n" in text
    assert text.rstrip().endswith("Rejected: customer 1 is unknown")
    told = json.loads(letters.told("show", f"{one['partition']}/{one['offset']}", "--json").output)
    assert told["value"]["id"] == "7"
    assert ["tl_from", "orders/1/7/1"] in told["headers"]


def test_show_prints_what_is_not_in_hex(letters: Letters) -> None:
    for key, shown in (("0xff", RAW.hex()), (None, "value: none")):
        (one,) = (letter for letter in letters.listed() if letter["key"] == key)
        assert shown in letters.told("show", f"{one['partition']}/{one['offset']}").output


def test_a_source_has_dead_letters_too(letters: Letters) -> None:
    first, _ = letters.listed(name="shop")
    assert (first["error"], first["message"], first["stage"]) == ("KeyError", "'status'", "publish")
    place = f"{first['partition']}/{first['offset']}"
    assert '"id": 9' in letters.told("show", place, name="shop").output
    assert "KeyError" in letters.told("group", name="shop").output


def test_redrive_of_a_source_is_refused(letters: Letters) -> None:
    failed = letters.run("redrive", "--yes", name="shop")
    assert isinstance(failed.exception, ConfigurationError)
    assert "is a source" in str(failed.exception)
    unknown = letters.run("list", name="shopp")
    assert f"there are: {letters.flow}.erp, {letters.flow}.shop" in str(unknown.exception)


def test_discard_of_a_source_is_done_at_once(fresh: Letters) -> None:
    said = fresh.told("discard", "--yes", "--limit", "1", "--why", "test rows", name="shop")
    assert "discarded 1 dead letter of" in said.output
    left = fresh.listed(name="shop")
    assert len(left) == 1
    fresh.told("discard", "--yes", name="shop")
    assert fresh.listed(name="shop") == []
    assert [letter["handled"] for letter in fresh.listed("--all", name="shop")] == [True, True]
    audits = read_audit(fresh.kit.backbone, fresh.flow)
    assert [(one.what, one.on, one.count) for one in audits] == [("discard", "shop", 1)] * 2
    assert audits[0].why == "test rows"


def test_what_is_handled_is_shown_only_on_request(fresh: Letters) -> None:
    chosen: list[DeadLetter] = list(fresh.queue().letters(DeadLetterFilter(message="customer")))
    handled = Handled()
    for letter in chosen:
        assert origin_of(letter.headers) == ("orders", 1)
        handled.add(letter.partition, letter.offset, letter.offset + 1)
    everything = Handled({n: OffsetSet([(0, 99)]) for n in range(2)})
    records = {
        HandledKey("erp", ("orders", 1)).text: handled.to_record(),
        HandledKey("erp", NO_ORIGIN).text: everything.to_record(),
    }
    kafka.ensure_topics(fresh.kit.backbone, [control.control_topic(fresh.flow)])
    put_control(fresh.kit.backbone, f"{fresh.flow}.control", records)
    assert {letter["id"] for letter in fresh.listed()} == {"raw", "nobody"}
    assert len(fresh.listed("--all")) == 5


def test_a_dry_run_changes_nothing(letters: Letters) -> None:
    said = letters.told("redrive", "--dry-run", "--error", "Rejected", "--limit", "4").output
    assert f"would redrive 4 dead letters of {letters.flow}.erp; nothing was changed" in said
    assert "customer <n> is unknown" in said
    assert letters.requests == {}


def test_it_asks_first(fresh: Letters) -> None:
    assert fresh.run("discard", input="n\n").exit_code == 0
    assert fresh.requests == {}
    fresh.told("discard", "--detach", input="y\n")
    assert len(fresh.requests) == 1


def test_nothing_to_redrive_is_no_request(fresh: Letters) -> None:
    assert "no dead letters to redrive" in fresh.told("redrive", "--key", "nobody").output
    assert fresh.requests == {}


def test_a_redrive_is_asked_for_in_the_control_topic(fresh: Letters) -> None:
    arguments = ["--key", "k1", "--rate", "300/m", "--why", "customer is back", "--force"]
    said = fresh.told("redrive", *arguments, "--yes", "--detach").output
    assert "the request waits until one runs" in said
    ((key, request),) = fresh.requests.items()
    assert f"redrive {fresh.flow}.{key.removeprefix('replay/')}: 1 dead letter of" in said
    (meant,) = fresh.queue().letters(DeadLetterFilter(key="k1"))
    place = f"{fresh.flow}.erp.dlq/{meant.partition}"
    assert request["ranges"] == {place: [meant.offset, meant.offset + 1]}
    expected = {"kind": "redrive", "destination": "erp", "state": "running", "mode": "state"}
    assert request.items() >= expected.items()
    assert (request["rate"], request["force"], request["count"]) == (5.0, True, 1)
    assert DeadLetterFilter.from_record(request) == DeadLetterFilter(key="k1")
    (audit,) = read_audit(fresh.kit.backbone, fresh.flow)
    assert (audit.what, audit.on, audit.why, audit.count) == (
        "redrive",
        "erp",
        "customer is back",
        1,
    )
    assert audit.id == key.removeprefix("replay/")
    assert audit.more["key"] == "k1"


def test_a_limit_is_part_of_what_is_asked_for(fresh: Letters) -> None:
    fresh.told("redrive", "--message", "customer", "--limit", "2", "--yes", "--detach")
    (request,) = fresh.requests.values()
    letters = list(fresh.queue().letters(DeadLetterFilter.from_record(request)))
    ranges = [(place, *span) for place, span in request["ranges"].items()]
    inside = [
        letter.event_id
        for letter in letters
        for place, first, behind in ranges
        if place.endswith(f"/{letter.partition}") and first <= letter.offset < behind
    ]
    assert (len(inside), len(letters), request["count"]) == (2, 3, 2)


def test_a_request_is_watched_until_it_is_over(fresh: Letters) -> None:
    asked = fresh.told("discard", "--yes", "--detach").output
    (key, request) = next(iter(fresh.requests.items()))
    assert "5 dead letters" in asked
    done = {
        **{f"{key}/orders/{n}": {"counts": {"discarded": n + 1}} for n in (1, 2)},
        key: {**request, "state": "done"},
    }
    put_control(fresh.kit.backbone, f"{fresh.flow}.control", done)
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.echo", seen.append)
        follow(fresh.kit.backbone, fresh.flow, key.removeprefix("replay/"), wait=True)
    assert seen[-1] == "done: 5 discarded"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["list", "--since", "yesterday"], "'yesterday' is no time"),
        (["list", "--header", "ce_type"], "write NAME=VALUE"),
        (["show", "seven"], "write PARTITION/OFFSET"),
        (["show", "0/4711"], "has no dead letter at 0/4711"),
        (["redrive", "--rate", "fast"], "'fast' is not a rate"),
    ],
)
def test_what_is_wrong_is_said(letters: Letters, arguments: list[str], reason: str) -> None:
    failed = letters.run(*arguments)
    assert isinstance(failed.exception, ConfigurationError)
    assert reason in str(failed.exception)


def test_an_unknown_destination_is_named(letters: Letters) -> None:
    failed = letters.run("list", name="crm")
    assert isinstance(failed.exception, ConfigurationError)
    assert f"there are: {letters.flow}.erp" in str(failed.exception)


def test_what_a_worker_dead_letters_is_there(kit: Kit) -> None:
    def refuse(event: Event[Order], attempt: int) -> Exception:
        return Rejected(f"customer {event.id} is unknown")

    letters = Letters(kit, worked(kit, Scripted(refuse)))
    found = letters.listed()
    assert [letter["id"] for letter in found if letter["stage"] == "deliver"] == ["good"]
    assert {letter["id"] for letter in found if letter["stage"] == "route"} == {"raw", "nobody"}
    one = next(letter for letter in letters.queue().letters() if letter.event_id == "good")
    assert one.header("tl_from").startswith(f"{letters.flow}.orders/")
    assert one.came_from.startswith(f"{letters.flow}.erp.inbox/")


def worked(kit: Kit, sink: Scripted) -> str:
    """A flow whose worker has dead-lettered three events, one of them at the sink."""
    flow = delivering(sink)
    kit.create(flow)
    good, raw = kit.event("k", "good"), kit.event("k2", "raw", RAW)
    nobody = (None, *kit.event("k3", "nobody")[1:])
    kit.produce(f"{flow.name}.orders", [good, raw, nobody])
    count: Callable[[], int] = lambda: len(kit.read(flow.destinations[0].dlq))  # noqa: E731

    async def run() -> None:
        async with kit.running(flow) as worker:
            await eventually(lambda: worker.done() or count() >= 3, "three letters", asks=True)

    asyncio.run(run())
    return flow.name
