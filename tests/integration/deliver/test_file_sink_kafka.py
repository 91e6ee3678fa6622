"""FileSink in workers that are killed, on a real Kafka: each event in one file, once."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

from trunkline.params import Backbone
from worker_kit import Feed, Workers, environ_of, eventually

FLOW = Path(__file__).parent / "lake_flow.py"
KEYS, EACH = 200, 15


def written(folder: Path) -> list[dict[str, Any]]:
    """The lines of all files; each file is whole, and its name says what is in it."""
    found = []
    for path in folder.rglob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        if not lines:  # void: made by who took over
            continue
        offsets = [line["_offset"] for line in lines]
        partition, first, last, _, _ = path.stem.rsplit("-", 4)
        assert offsets == sorted(offsets)
        assert (int(first), int(last)) == (offsets[0], offsets[-1])
        assert {int(partition.rsplit("-", 1)[1])} == {line["_partition"] for line in lines}
        found += lines
    return found


def test_each_event_is_in_one_file_through_kills(
    bootstrap: str, registry_url: str, tmp_path: Path
) -> None:
    name = f"lake-{uuid.uuid4().hex[:8]}"
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)
    folder = tmp_path / "lake"
    folder.mkdir()
    feed = Feed(backbone, f"{name}.orders")
    orders = [(f"k{key}", n) for n in range(EACH) for key in range(KEYS)]
    with Workers(FLOW, tmp_path, environ_of(backbone, flow=name, folder=str(folder))) as workers:
        for kill in range(3):
            (worker,) = workers.started("route,deliver")
            before = len(written(folder))
            feed.orders(orders[kill * 500 : (kill + 1) * 500])
            eventually(lambda b=before: len(written(folder)) > b + 100, "files come")
            workers.kill(worker)
        feed.orders(orders[1500:])
        workers.start("route,deliver")
        eventually(lambda: len(written(folder)) >= len(orders), "all come", patience=120)
        workers.stop()
    found = written(folder)
    assert len({line["_id"] for line in found}) == len(found) == len(orders)
    by_key: dict[str, list[int]] = defaultdict(list)
    for line in sorted(found, key=lambda line: line["_offset"]):
        by_key[line["_key"]].append(line["total_cents"])
    assert by_key == {f"k{key}": list(range(EACH)) for key in range(KEYS)}
