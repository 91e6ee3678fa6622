"""Today's path to a destination: which events it concerns, and how sent ones are marked."""

from __future__ import annotations

import pytest

from replay_world import DLQ, INBOX, TOPIC
from trunkline.kafka import ProducerRecord
from trunkline.kafka.messages import StoredMessage
from trunkline.schemas.codec import nothing_to_learn
from trunkline.streams.replay.path import DestinationPath, count_events, with_replay_headers
from trunkline.streams.route.compiled import CompiledRoute, CompiledTopic
from trunkline.streams.route.router import Router


def path_of(*patterns: tuple[str, ...]) -> DestinationPath:
    """A path of one topic with a route for each ``only``."""
    routes = [
        CompiledRoute.of(
            lambda event: event.data,
            inbox=INBOX,
            dlq=DLQ,
            encode=bytes,
            only=only,
            accepts_deletes=True,
        )
        for only in patterns
    ]
    topics = {TOPIC: CompiledTopic(bytes.upper, routes)}
    router = Router(topics)
    return DestinationPath("erp", INBOX, topics, router, nothing_to_learn, appends=False)


def event(kind: str, topic: str = TOPIC, key: bytes = b"k") -> StoredMessage:
    return StoredMessage(topic, 0, 7, key, b"data", [("ce_type", kind.encode())])


@pytest.mark.parametrize(
    ("patterns", "taken"),
    [
        ([()], True),
        ([("paid",)], True),
        ([("p*",)], True),
        ([("seen", "paid")], True),
        ([("seen",)], False),
        ([("seen",), ("paid",)], True),
        ([("seen",), ()], True),
    ],
)
def test_an_event_is_taken_if_a_route_listens_to_its_type(
    patterns: list[tuple[str, ...]], taken: bool
) -> None:
    assert path_of(*patterns).takes(event("paid")) is taken


def test_no_event_of_another_topic_is_taken() -> None:
    assert not path_of(()).takes(event("paid", topic="refunds"))


def test_an_event_without_a_type_is_taken_by_routes_that_listen_to_all() -> None:
    bare = StoredMessage(TOPIC, 0, 7, b"k", b"data")
    assert path_of(()).takes(bare)
    assert not path_of(("paid",)).takes(bare)


def test_a_record_is_read_as_its_topic_says() -> None:
    read = path_of(()).event(event("paid", key=b"\xff"))
    assert (read.key, read.type, read.data) == ("\N{REPLACEMENT CHARACTER}", "paid", b"DATA")
    assert (read.topic, read.partition, read.offset) == (TOPIC, 0, 7)


def test_what_is_sent_again_says_so() -> None:
    marked = [("ce_id", b"1"), ("tl_origin", b"original")]
    sent = [ProducerRecord(INBOX, b"k", b"v", marked)]
    ((*rest, headers),) = with_replay_headers(sent, "redrive", "7f")
    assert rest == [INBOX, b"k", b"v"]
    assert dict(headers) == {"ce_id": b"1", "tl_origin": b"redrive", "tl_replay_id": b"7f"}


def test_events_are_counted_not_the_messages_that_routes_make_of_them() -> None:
    def record(**headers: bytes) -> ProducerRecord:
        return ProducerRecord(INBOX, b"k", b"v", list(headers.items()))

    two_parts = [record(tl_from=b"orders/0/1/1"), record(tl_from=b"orders/0/1/2")]
    dead = record(tl_dead_from=b"orders/0/1")
    assert count_events(two_parts) == 1
    assert count_events([*two_parts, dead]) == 1, "the second route refused the same event"
    assert count_events([*two_parts, record(tl_from=b"orders/0/2/1")]) == 2
    assert count_events([]) == 0
