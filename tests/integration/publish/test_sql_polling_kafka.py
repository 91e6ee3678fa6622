"""SqlPolling in workers that are killed, on a real Kafka and PostgreSQL: the topic is the table."""

from __future__ import annotations

import random
import uuid
from pathlib import Path

from polling_kit import Polled, polled
from trunkline.params import Backbone
from worker_kit import Workers, environ_of, eventually, header, read

FLOW = Path(__file__).parent / "polling_flow.py"
ROWS = 400


def shuffle(database: Polled, chance: random.Random) -> None:
    """Rows that change, go, and come."""
    for _ in range(20):
        id_, cents = f"o{chance.randrange(ROWS + 50)}", chance.randrange(10_000)
        if chance.random() < 0.3:
            database.run("DELETE FROM {t} WHERE id = :id", id=id_)
        else:
            database.run(
                "INSERT INTO {t} VALUES (:id, 'paid', :cents) "
                "ON CONFLICT (id) DO UPDATE SET cents = :cents",
                id=id_,
                cents=cents,
            )


def test_the_topic_is_the_table_through_kills(
    bootstrap: str, registry_url: str, postgres_dsn: str, tmp_path: Path
) -> None:
    name, chance = f"polled-{uuid.uuid4().hex[:8]}", random.Random(3)
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)

    def published() -> int:
        return len(read(backbone, f"{name}.orders"))

    with polled(postgres_dsn) as database:
        database.run("CREATE TABLE {t} (id text PRIMARY KEY, status text, cents bigint)")
        database.run("INSERT INTO {t} SELECT 'o' || n, 'new', n FROM generate_series(1, 400) AS n")
        environ = environ_of(backbone, flow=name, url=database.url, table=database.table)
        with Workers(FLOW, tmp_path, environ) as workers:
            (first,) = workers.started("source")
            eventually(lambda: published() > 100, "the first look begins")
            workers.kill(first)
            shuffle(database, chance)
            workers.start("source")
            eventually(lambda: published() >= ROWS - 20, "the first look ends")
            shuffle(database, chance)
            database.run("INSERT INTO {t} VALUES ('last', 'new', 1)")
            keys = lambda: {event.key() for event in read(backbone, f"{name}.orders")}  # noqa: E731
            eventually(lambda: b"last" in keys(), "what came last is told")
            workers.stop()
        events = read(backbone, f"{name}.orders")
        folded: dict[str, bool] = {}
        for event in events:
            folded[(event.key() or b"").decode()] = event.value() is not None
        there = {id_ for (id_,) in database.run("SELECT id FROM {t}")}
    assert {key for key, lives in folded.items() if lives} == there
    assert len({header(event, "ce_id") for event in events}) == len(events)
