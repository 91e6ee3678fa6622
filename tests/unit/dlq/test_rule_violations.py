"""What breaks a rule of its type's schema ends with all that it breaks, and is counted by rule."""

from __future__ import annotations

import asyncio
import json
from typing import Any, TypedDict

import pytest

from routing_kit import DLQ, INBOX, TOPIC
from trunkline import Record
from trunkline.errors import RuleViolations, Violation
from trunkline.kafka.messages import StoredMessage
from trunkline.schemas.codec import Codec, unregistered
from trunkline.schemas.plain.read import FieldError, broken_rules
from trunkline.schemas.types import avro_type, schema_of
from trunkline.streams.dlq.cause_groups import group_by_cause
from trunkline.streams.dlq.envelope import MAX_TEXT_BYTES, dead_letter
from trunkline.streams.dlq.letters import DeadLetter
from trunkline.streams.metrics import Metrics, StepMetrics
from trunkline.streams.publish.publisher import Publisher, TopicMapping
from trunkline.streams.route.compiled import CompiledRoute, CompiledTopic
from trunkline.streams.route.router import Router
from trunkline.testing.registry import MemoryRegistry


class Sale(TypedDict):
    id: str
    email: str
    cents: int


RULES = [
    {"name": "paid", "expr": "this.cents > 0", "doc": "nothing is free"},
    {"name": "reachable", "expr": "this.email.contains('@')"},
]
FIELDS: list[Any] = [
    {"name": "id", "type": "string"},
    {"name": "email", "type": "string", "confluent:tags": ["PII"]},
    {"name": "cents", "type": "long"},
]
avro_type(
    Sale,
    json.dumps({"type": "record", "name": "shop.Sale", "fields": FIELDS, "confluent:rules": RULES}),
)
GOOD, FREE, WRONG = (
    Sale(id="s1", email="a@x", cents=5),
    Sale(id="s2", email="a@x", cents=0),
    Sale(id="s3", email="anna", cents=-1),
)
PAID = Violation("paid", "cents", "nothing is free (cents = -1)")
REACHABLE = Violation("reachable", "email", "must be this.email.contains('@') (email = ***)")
METRIC = "trunkline_rule_violations_total"


def encoder() -> Any:
    return Codec(MemoryRegistry()).encoder(Sale, "sales-value", register=True)


def counted(metrics: Metrics) -> dict[tuple[str, str], float]:
    return {
        (one.labels["type"], one.labels["rule"]): one.value
        for metric in metrics.registry.collect()
        for one in metric.samples
        if one.name == METRIC
    }


def letters(records: Any, queue: str) -> list[DeadLetter]:
    return [
        DeadLetter.of(StoredMessage(queue, 0, n, one.key, one.value, one.headers))
        for n, one in enumerate(records)
        if one.topic == queue
    ]


def test_what_is_encoded_obeys() -> None:
    encode = encoder()
    assert encode(GOOD)
    with pytest.raises(RuleViolations) as refused:
        encode(WRONG)
    assert refused.value.violations == (PAID, REACHABLE)
    assert str(refused.value) == f"shop.Sale breaks {PAID}; {REACHABLE}"
    assert "anna" not in str(refused.value)
    with pytest.raises(RuleViolations):
        unregistered(Sale)[0](FREE)


def test_of_a_source_it_is_a_dead_letter_of_the_source() -> None:
    output = TopicMapping("sales", lambda record: record.data, encoder())
    publisher = Publisher("/shop/db", "shop.db.dlq", [output])
    sales = (GOOD, FREE, WRONG, FREE)
    records = [Record(key=one["id"], data=dict(one), id=one["id"]) for one in sales]
    result = publisher.publish(records)
    assert (result.published, result.dead) == (1, 3)
    metrics = Metrics()
    result.tell(StepMetrics(metrics, "shop", "publish", "db"))
    assert counted(metrics) == {("shop.Sale", "paid"): 3, ("shop.Sale", "reachable"): 1}

    found = letters(result.records, "shop.db.dlq")
    assert found[1].violations == [PAID._asdict(), REACHABLE._asdict()]
    groups = group_by_cause(found)
    assert [(one.count, one.message) for one in groups] == [
        (2, "shop.Sale breaks paid"),
        (1, "shop.Sale breaks paid, reachable"),
    ]


@pytest.mark.parametrize("is_async", [False, True])
def test_of_a_route_it_is_a_dead_letter_of_the_destination(is_async: bool) -> None:
    def route(event: Any) -> Sale:
        return WRONG if event.data["id"] == "s1" else GOOD

    async def later(event: Any) -> Sale:
        return route(event)

    compiled = CompiledRoute.of(
        later if is_async else route, inbox=INBOX, dlq=DLQ, encode=encoder()
    )
    encode, decode = unregistered(Sale)
    router = Router({TOPIC: CompiledTopic(decode, [compiled])})
    messages = [
        StoredMessage(TOPIC, 0, n, b"k", encode({**GOOD, "id": id_}), [])
        for n, id_ in enumerate(("s1", "s2", "s1"))
    ]
    done = asyncio.run(router.route(messages))
    assert [one.topic for one in done.records] == [DLQ, INBOX, DLQ]
    assert done.broken == {("shop.Sale", "paid"): 2, ("shop.Sale", "reachable"): 2}
    assert letters(done.records, DLQ)[0].violations == [PAID._asdict(), REACHABLE._asdict()]


def test_a_letter_tells_as_many_as_there_is_room_for_and_nobody_can_forge_them() -> None:
    def letter(error: Exception) -> DeadLetter:
        made = dead_letter(
            "dlq",
            key=b"k",
            value=b"v",
            headers=[("tl_violations", b"forged")],
            came_from="",
            stage="route",
            error=error,
        )
        return letters([made], "dlq")[0]

    many = [Violation(f"r{n}", "ö" * 100, "m" * 100) for n in range(100)]
    one = letter(RuleViolations("shop.Sale", many))
    assert one.violations == [it._asdict() for it in many[: len(one.violations)]]
    assert 10 < len(one.violations) < 30
    assert len(one.header("tl_violations").encode()) <= MAX_TEXT_BYTES
    assert letter(ValueError("x")).violations == []
    assert "tl_violations" not in dict(letter(ValueError("x")).headers)


def test_whoever_calls_is_told_where_it_is_wrong() -> None:
    check = schema_of(Sale).check
    assert broken_rules(check, GOOD) == []
    assert broken_rules(check, WRONG)[0] == FieldError("#/cents", f"paid: {PAID.message}")
    assert broken_rules(None, WRONG) == []
    key = "a.b/c~[it's]"
    nested = Violation("r", f"lines[2].by[{key!r}].sku", "m")
    pointer = "#/lines/2/by/a.b~1c~0[it's]/sku"
    assert broken_rules(lambda _: [nested], 1) == [FieldError(pointer, "r: m")]
    assert broken_rules(lambda _: [Violation("r", "a, b", "m")], 1) == [FieldError("#", "r: m")]
