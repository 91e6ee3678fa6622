"""Change data capture through anything: random changes of rows and of tables, slots and
publications that are dropped and made again, a source and a server that are killed, standbys that
are promoted. What a consumer has is what the tables have, or the source has stopped and says why.

``SOAK_SEED`` repeats a run's script; the seed is printed. ``SOAK_SECONDS``: how long it lasts.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cdc_world import World

from trunkline.local.ports import free_port
from trunkline.local.postgres import Postgres

SECONDS = float(os.environ.get("SOAK_SECONDS") or 20)
SEED = 20_250_607
STEPS = 60
"""Between two looks, at the most."""


@pytest.fixture
def world(server_home: Path, tmp_path: Path) -> Iterator[World]:
    given = os.environ.get("SOAK_SEED", str(SEED))
    seed = int(given) if given else random.randrange(2**32)
    print(f"SOAK_SEED={seed} SOAK_SECONDS={SECONDS:.0f}")
    server = Postgres(server_home / "postgres-soak", free_port())
    server.home.mkdir()
    server.prepare()
    made = World(server, tmp_path, seed)
    try:
        yield made
    finally:
        made.close()


def test_a_consumer_has_what_the_tables_have_or_the_source_says_why(world: World) -> None:
    dice, end = random.Random(STEPS), time.monotonic() + SECONDS
    while time.monotonic() < end:
        for _ in range(dice.randrange(5, STEPS)):
            world.step()
        world.settle()
        world.verify()
    print(f"done: {dict(world.done)}")
    print(f"stops: {dict(world.ends)}")
    assert world.done["settled"]
