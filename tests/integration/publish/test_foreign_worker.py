"""Workers that read a foreign topic of Debezium's and are killed: each change once, in order."""

from __future__ import annotations

import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

from debezium_messages import envelope
from foreign_kafka import ForeignKafka
from trunkline.params import Backbone
from trunkline.schemas.codec import Codec
from trunkline.schemas.registry import Registry
from worker_kit import Workers, environ_of, eventually, header, read

FLOW = Path(__file__).parent / "foreign_flow.py"
KEYS, ROUNDS = 40, 30


def changes(begin: int) -> list[tuple[str, Any]]:
    """ROUNDS changes of each key, and one of each kind that is none."""
    found: list[tuple[str, Any]] = [
        (f'{{"ID": {key}}}', envelope("u", None, {"ID": key, "STATUS": "paid", "CENTS": number}))
        for number in range(begin, begin + ROUNDS)
        for key in range(KEYS)
    ]
    odd = envelope("c", None, {"ID": 1, "STATUS": "paid", "CENTS": "many"})
    return [*found, ('{"ID": 1}', {"no": "envelope"}), ('{"ID": 1}', odd)]


def test_each_change_once_and_in_the_order_of_its_key_through_kills(
    bootstrap: str, registry_url: str, tmp_path: Path
) -> None:
    name = f"foreign-{uuid.uuid4().hex[:8]}"
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)
    foreign = ForeignKafka(bootstrap)
    topic = foreign.create(partitions=3)
    foreign.put_many(topic, changes(0))
    environ = environ_of(backbone, flow=name, foreign=bootstrap, topic=topic)
    with Workers(FLOW, tmp_path, environ) as workers:
        (first,) = workers.started("source")
        eventually(lambda: len(read(backbone, f"{name}.orders")) > 100, "changes arrive")
        workers.kill(first)
        foreign.put_many(topic, changes(ROUNDS))
        workers.start("source")
        expected = 2 * ROUNDS * KEYS
        eventually(lambda: len(read(backbone, f"{name}.orders")) >= expected, "all arrive")
        eventually(lambda: len(read(backbone, f"{name}.oracle.dlq")) >= 4, "bad ones, too")
        workers.stop()
    with Registry(registry_url) as registry:
        decode = Codec(registry).any_decoder()
        of_key = defaultdict(list)
        events = read(backbone, f"{name}.orders")
        for event in events:
            of_key[event.key()].append(decode(event.value() or b"")["total_cents"])
    assert of_key == {f"{key}".encode(): list(range(2 * ROUNDS)) for key in range(KEYS)}
    assert len({header(event, "ce_id") for event in events}) == expected
    letters = read(backbone, f"{name}.oracle.dlq")
    assert sorted(header(letter, "tl_error_class") for letter in letters) == [
        "DataError",
        "DataError",
        "ValueError",
        "ValueError",
    ]
    raw = [one.value() for one in letters if header(one, "tl_error_class") == "DataError"]
    assert raw == [b'{"no": "envelope"}'] * 2, "its bytes as they were"
    assert all(header(one, "tl_dead_from").startswith(f"{topic}/") for one in letters)
