"""FileSource in workers that are killed, on a real Kafka: each row once, bad ones in the DLQ."""

from __future__ import annotations

import uuid
from pathlib import Path

import orjson

from trunkline.params import Backbone
from worker_kit import Workers, environ_of, eventually, header, read

FLOW = Path(__file__).parent / "files_flow.py"
FILES, ROWS = 40, 60


def fill(folder: Path, begin: int) -> set[str]:
    """FILES files of ROWS good rows, of which the first one also has two bad ones."""
    keys = set()
    for n in range(begin, begin + FILES):
        ids = [f"{n}-{row}" for row in range(ROWS)]
        bad = b"short\nmad,paid,much\n" if n == begin else b""
        text = "id,status,cents\n" + "".join(f"{key},paid,1\n" for key in ids)
        new = folder / f".{n}.csv"
        new.write_bytes(text.encode() + bad)
        new.rename(folder / f"{n}.csv")
        keys.update(ids)
    return keys


def test_each_row_once_through_kills_and_bad_ones_in_the_dlq(
    bootstrap: str, registry_url: str, tmp_path: Path
) -> None:
    name = f"files-{uuid.uuid4().hex[:8]}"
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)
    folder = tmp_path / "in"
    folder.mkdir()
    expected = fill(folder, 0)
    environ = environ_of(backbone, flow=name, folder=str(folder))
    with Workers(FLOW, tmp_path, environ) as workers:
        (first,) = workers.started("source")
        eventually(lambda: len(read(backbone, f"{name}.orders")) > 100, "rows arrive")
        workers.kill(first)
        expected |= fill(folder, FILES)
        workers.start("source")
        eventually(
            lambda: len(read(backbone, f"{name}.orders")) >= len(expected), "all rows arrive"
        )
        workers.stop()
    events = read(backbone, f"{name}.orders")
    assert sorted(event.key().decode() for event in events) == sorted(expected)  # type: ignore[union-attr]
    assert len({header(event, "ce_id") for event in events}) == len(expected)
    letters = read(backbone, f"{name}.till.dlq")
    assert [
        (header(letter, "tl_dead_from"), header(letter, "tl_error_class")) for letter in letters
    ] == [
        (f"{n}.csv:{ROWS + line}", error)
        for n in (0, FILES)
        for line, error in ((2, "DataError"), (3, "ValueError"))
    ]
    assert letters[0].value() == b"short\n"
    assert orjson.loads(letters[1].value() or b"")["data"]["cents"] == "much"
