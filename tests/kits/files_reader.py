"""A program that reads a folder as the engine does, to be killed at any moment.

``python files_reader.py FOLDER JOURNAL``: each batch and its position are one line of the journal,
written at once, which stands for a transaction of Kafka. A start cuts what is half a line off.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from trunkline.connectors.files import FileSource


def last_position(journal: Path) -> object:
    """Where the journal's last whole line says that the source stands."""
    whole, _, _ = journal.read_bytes().rpartition(b"\n")
    os.truncate(journal, len(whole) + bool(whole))
    return json.loads(whole.rpartition(b"\n")[2])["position"] if whole else None


def run(folder: Path, journal: Path) -> None:
    """Read for ever."""
    source = FileSource(folder, key="id", settle="0s", interval="10ms", batch=50, after="archive")
    position = last_position(journal)
    with journal.open("ab", buffering=0) as file:
        for batch in source.read(position, threading.Event()):  # type: ignore[arg-type]
            ids = [[record.key, record.id] for record in batch.records]
            file.write(json.dumps({"rows": ids, "position": batch.position}).encode() + b"\n")
            source.acknowledge(batch.position)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
