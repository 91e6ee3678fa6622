"""A source's progress in the log: now and then, with the share that is done, and its end once."""

from __future__ import annotations

import logging

import pytest

from trunkline.streams.publish.progress import EVERY, ProgressLog, progress_in_words


def snapshot(rows: int, about: int | None = 300_000) -> dict[str, object]:
    return {"phase": "snapshot", "progress": {"of": "public.orders", "rows": rows, "about": about}}


def test_how_far_it_is_is_told_every_half_minute_and_its_end_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    now = 100.0
    log = ProgressLog("shop", lambda: now)
    log.on_position(None)
    for rows in range(0, 12_001, 1_000):
        log.on_position(snapshot(rows))
        now += EVERY / 6
    log.on_position(snapshot(12_000))
    now += 1
    for _ in range(3):
        log.on_position({"phase": "stream", "lsn": 7})
    assert caplog.messages == [
        "source shop: snapshot, public.orders: 6,000 rows of about 300,000 (2 %)",
        "source shop: snapshot, public.orders: 12,000 rows of about 300,000 (4 %)",
        "source shop: snapshot is over after 66 s, stream begins",
    ]


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        ({"of": "x", "rows": 1200, "about": None}, "x: 1,200 rows"),
        ({"of": "x", "rows": 900, "about": 600}, "x: 900 rows of about 600 (100 %)"),
        ("of another kind", ""),
        ({"rows": "many"}, ""),
        (None, ""),
    ],
)
def test_progress_in_words(progress: object, words: str) -> None:
    assert progress_in_words(progress) == words
