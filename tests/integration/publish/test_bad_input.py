"""Bad input ends in the right dead-letter queue, with its raw bytes and the reason, or is
delivered right; whatever it is, what stands behind it in its partition arrives."""

from __future__ import annotations

import json
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest
from confluent_kafka import Message

from pg_kit import new_database
from trunkline.admin.browsing import TopicBrowser
from trunkline.admin.dead_letters import open_dead_letters
from trunkline.admin.targets import Target
from trunkline.params import Backbone
from worker_kit import Destination, Feed, Workers, environ_of, eventually, header, read

FLOW = Path(__file__).parent / "bad_input_flow.py"
BIG = "x" * 5_000_000
BEHIND = [f"behind-{number}" for number in range(20)]
"""Good keys in every partition, published behind everything bad."""


@dataclass
class Outcome:
    """What became of everything, once all good events have arrived."""

    destination: Destination
    sent: dict[str, tuple[bytes | None, bytes | None]]
    """Key and value of each bad event."""
    origin: dict[str, Message]
    """The canonical topic, by topic/partition/offset."""
    letters: dict[str, list[Message]]
    """The dead letters of the source and of each destination."""
    backbone: Backbone
    name: str

    def dead(self, queue: str, key: bytes | None) -> Message:
        """The one dead letter of a key."""
        (found,) = [letter for letter in self.letters[queue] if letter.key() == key]
        return found

    def assert_dead(self, queue: str, case: str, error: str, reason: str) -> None:
        """Its bytes as they were, where they came from, and why."""
        key, value = self.sent[case]
        letter = self.dead(queue, key)
        assert letter.value() == value
        assert header(letter, "ce_type") == "order.paid"
        assert header(letter, "tl_stage") == "route"
        assert header(letter, "tl_error_class") == error
        assert reason in header(letter, "tl_error")
        assert self.origin[header(letter, "tl_dead_from")].key() == key

    def delivered(self) -> list[str]:
        return [delivery.key for delivery in self.destination.deliveries]


@pytest.fixture(scope="module")
def outcome(
    bootstrap: str,
    registry_url: str,
    postgres_dsn: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Outcome:
    """One worker that meets it all."""
    name = f"bad-{uuid.uuid4().hex[:8]}"
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)
    with new_database(postgres_dsn, name) as database, Destination() as destination:
        fill_table(database.dsn)
        sent = feed_bad(Feed(backbone, f"{name}.orders"))
        environ = environ_of(backbone, flow=name, dsn=database.dsn, api=destination.url)
        with Workers(FLOW, tmp_path_factory.mktemp("bad"), environ) as workers:
            workers.start("source,route,deliver")
            good = {*BEHIND, *(f"slow-{key}" for key in BEHIND), "row", "slow-row"}
            eventually(lambda: good <= delivered_to(destination), "the good events arrive")
            workers.stop()
        origin = {place(message): message for message in read(backbone, f"{name}.orders")}
        letters = {q: read(backbone, f"{name}.{q}.dlq") for q in ("shop", "plain", "slow")}
    return Outcome(destination, sent, origin, letters, backbone, name)


def delivered_to(destination: Destination) -> set[str]:
    return {delivery.key for delivery in destination.deliveries}


def place(message: Message) -> str:
    return f"{message.topic()}/{message.partition()}/{message.offset()}"


def fill_table(dsn: str) -> None:
    """A row that its topic function cannot take, one full of NULL, and a good one behind them."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE orders (id text PRIMARY KEY, status text, number bigint)")
        cursor.execute("INSERT INTO orders VALUES ('raises', 'paid', 1), ('nulls', NULL, NULL)")
        cursor.execute("INSERT INTO orders VALUES ('account-bad', 'anna@example.net', -1)")
        cursor.execute("INSERT INTO orders VALUES ('account-good', 'a@example.com', 1)")
        cursor.execute("INSERT INTO orders VALUES ('row', 'paid', 3)")
        connection.commit()


def feed_bad(feed: Feed) -> dict[str, tuple[bytes | None, bytes | None]]:
    good = feed.value("any", 1)
    sent: dict[str, tuple[bytes | None, bytes | None]] = {
        "no Avro at all": (b"not-avro", b"{}"),
        "cut off": (b"cut-off", good[:-1]),
        "unknown schema": (b"unknown-schema", b"\x00\x7f\xff\xff\xff" + good[5:]),
        "no key": (None, good),
        "empty key": (b"", good),
        "binary key": (b"\xff\xfe", good),
        "route raises": (b"route-raises", feed.value("r", 1, "route raises")),
        "async route raises": (b"async-raises", feed.value("a", 1, "async route raises")),
    }
    for key, value in sent.values():
        feed.raw(key, value)
    feed.raw(b"big", feed.value("big", 1, BIG))
    feed.raw(b"tombstone", None)
    feed.orders((key, 1) for key in BEHIND)
    return sent


@pytest.mark.parametrize("queue", ["plain", "slow"])
@pytest.mark.parametrize(
    ("case", "error", "reason"),
    [
        ("no Avro at all", "SerializationError", "wire format"),
        ("cut off", "SerializationError", "cannot be read with its schema"),
        ("unknown schema", "SerializationError", str(0x7FFFFFFF)),
        ("no key", "DataError", "no key"),
        ("empty key", "DataError", "no key"),
        ("binary key", "DataError", "not UTF-8"),
    ],
)
def test_what_no_route_can_read_is_in_the_dlq_of_each(
    outcome: Outcome, queue: str, case: str, error: str, reason: str
) -> None:
    outcome.assert_dead(queue, case, error, reason)


def test_a_route_that_raises_loses_no_other_destination_the_event(outcome: Outcome) -> None:
    outcome.assert_dead("plain", "route raises", "ArithmeticError", "the route is wrong")
    assert "to_plain" in header(outcome.dead("plain", b"route-raises"), "tl_traceback")
    assert "slow-route-raises" in outcome.delivered()
    assert "route-raises" not in outcome.delivered()


def test_an_async_route_that_raises_does_so_too(outcome: Outcome) -> None:
    outcome.assert_dead("slow", "async route raises", "RuntimeError", "the service it asks")
    assert "to_slow" in header(outcome.dead("slow", b"async-raises"), "tl_traceback")
    assert "async-raises" in outcome.delivered()
    assert "slow-async-raises" not in outcome.delivered()


def test_a_value_of_5_mb_is_delivered(outcome: Outcome) -> None:
    (delivery,) = [d for d in outcome.destination.deliveries if d.key == "big"]
    assert delivery.body == {"id": "big", "status": BIG, "total_cents": 1}


def test_a_delete_that_no_destination_accepts_disturbs_nobody(outcome: Outcome) -> None:
    assert "tombstone" not in outcome.delivered()
    assert b"tombstone" not in {m.key() for m in outcome.letters["plain"]}


@pytest.mark.parametrize(
    ("key", "error", "reason", "data"),
    [
        ("raises", "LookupError", "in no catalogue", {"status": "paid", "number": 1}),
        (
            "nulls",
            "SerializationError",
            "commerce.Order.status",
            {"status": None, "number": None},
        ),
    ],
)
def test_a_row_that_cannot_be_canonical_is_in_the_dlq_of_the_source(
    outcome: Outcome, key: str, error: str, reason: str, data: dict[str, object]
) -> None:
    letter = outcome.dead("shop", key.encode())
    assert header(letter, "tl_stage") == "publish"
    assert header(letter, "tl_error_class") == error
    assert reason in header(letter, "tl_error")
    assert json.loads(letter.value() or b"")["data"] == {"id": key, **data}


def test_what_breaks_a_rule_is_in_the_dlq_of_the_source_with_all_that_it_breaks(
    outcome: Outcome,
) -> None:
    """And nobody is shown the address, which is tagged; who obeys is published."""
    letter = outcome.dead("shop", b"account-bad")
    assert header(letter, "tl_error_class") == "RuleViolations"
    expression = "must be this.mail in ['a@example.com', 'b@example.com']"
    assert json.loads(header(letter, "tl_violations")) == [
        {"rule": "paid", "field": "cents", "message": "nothing is free (cents = -1)"},
        {"rule": "known", "field": "mail", "message": f"{expression} (mail = ***)"},
    ]
    opened = open_dead_letters(outcome.backbone, Target.parse(f"{outcome.name}.shop"))
    causes = {cause.message for cause in opened.causes()}
    assert "Account breaks known, paid" in causes
    assert "anna@example.net" not in str(letter.headers())
    with TopicBrowser(outcome.backbone, f"{outcome.name}.accounts") as browser:
        (shown,) = browser.newest(browser.ranges(), 9)
    assert shown.value.data == {"id": "account-good", "mail": "***", "cents": 1}


def test_nothing_else_is_dead(outcome: Outcome) -> None:
    unreadable = 6
    counts = {queue: len(letters) for queue, letters in outcome.letters.items()}
    assert counts == {"shop": 3, "plain": unreadable + 1, "slow": unreadable + 1}


def test_every_good_event_is_delivered_once(outcome: Outcome) -> None:
    keys = [*BEHIND, "row", "big", "route-raises", "async-raises"]
    wanted = [*keys, *(f"slow-{key}" for key in keys)]
    refused = {"route-raises", "slow-async-raises"}
    assert sorted(outcome.delivered()) == sorted(set(wanted) - refused)
