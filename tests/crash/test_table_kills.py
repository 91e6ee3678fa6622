"""A worker that keeps a table on disk is killed at any moment: what it finds never goes back."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from table_reader import KEYS

from trunkline.params import Backbone
from worker_kit import Feed

PROGRAM = Path(__file__).with_name("table_reader.py")
KILLS = 6
LOOKED_UP = 200
"""Most values that are heard of a worker before it is killed."""


def test_what_is_looked_up_never_goes_back_when_workers_are_killed(
    backbone: Backbone, name: str, tmp_path: Path
) -> None:
    dice = random.Random(20261129)
    feed = Feed(backbone, f"{name}.prices")
    seen = dict.fromkeys(KEYS, -1)
    with counting(feed):
        for _ in range(KILLS):
            for key, number in heard(backbone, feed.topic, tmp_path, dice.randrange(1, LOOKED_UP)):
                assert number >= seen[key], f"{key} was {seen[key]} and is {number}"
                seen[key] = number
    assert min(seen.values()) > 0


@contextmanager
def counting(feed: Feed) -> Iterator[None]:
    """Each key has the next number all the time."""
    done = threading.Event()

    def count() -> None:
        number = 0
        while not done.wait(0.002):
            number += 1
            feed.orders((key, number) for key in KEYS)

    thread = threading.Thread(target=count, name="counting")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def heard(backbone: Backbone, topic: str, folder: Path, values: int) -> Iterator[tuple[str, int]]:
    """What a worker finds until it is killed, after so many values: all that it has said."""
    command = [sys.executable, str(PROGRAM), backbone.bootstrap, backbone.registry, topic]
    with subprocess.Popen(
        [*command, str(folder / "table")], stdout=subprocess.PIPE, text=True, env=os.environ
    ) as worker:
        assert worker.stdout is not None
        try:
            for said, line in enumerate(worker.stdout, 1):
                key, number = line.split()
                yield key, int(number)
                if said == values:
                    worker.send_signal(signal.SIGKILL)
        finally:
            worker.kill()
    assert worker.returncode == -signal.SIGKILL, "it ended by itself"
