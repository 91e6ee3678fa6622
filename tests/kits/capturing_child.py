"""A program that reads a PostgresCDC, or a MySqlCDC, as the engine does, until it is killed: its
batches go into a file, records and position in one line, as into one transaction of Kafka.

    python capturing_child.py FILE '{"dsn": …, "tables": […], …}'

It ends with status 3 and the message when a person must mend something.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

from trunkline.connectors.base import Position, Source
from trunkline.connectors.mysql import MySqlCDC
from trunkline.connectors.postgres import PostgresCDC, changes
from trunkline.errors import ConfigurationError, SourceError
from trunkline.event import Record

PROGRAM = [sys.executable, __file__]
STOPPED = 3
_BACK_OFF = 0.2


class Published:
    """What is in the file: of whole lines, as of committed transactions."""

    def __init__(self, file: Path) -> None:
        self.records: list[Record] = []
        self.position: Position | None = None
        self.file = file
        self._read = 0

    def look(self) -> list[Record]:
        """Read on; what is new."""
        new: list[Record] = []
        if self.file.exists():
            with self.file.open("rb") as log:
                log.seek(self._read)
                text = log.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._read += len(whole)
            for line in whole.splitlines():
                batch: dict[str, Any] = json.loads(line)
                new += [Record(**fields) for fields in batch["records"]]
                self.position = batch["position"]
        self.records += new
        return new


def _as_json(record: Record) -> dict[str, Any]:
    names = ("key", "data", "change", "id", "stream")
    return {name: getattr(record, name) for name in names}


def main(file: Path, arguments: dict[str, Any]) -> None:
    """Read on behind what is stored. ``ask``: seconds until the source asks for its tables."""
    published = Published(file)
    ask = arguments.pop("ask", None)
    if ask is not None:
        changes._ASK = changes._ASK_IDLE = changes._LATER = ask
    while True:
        published.look()
        mysql = arguments["dsn"].startswith("mysql:")
        source: Source = MySqlCDC(**arguments) if mysql else PostgresCDC(**arguments)
        try:
            with file.open("r+b") as log:
                log.truncate(published._read)
                log.seek(published._read)
                for batch in source.read(published.position, threading.Event()):
                    records = [_as_json(record) for record in batch.records]
                    line = json.dumps({"records": records, "position": batch.position})
                    log.write(line.encode() + b"\n")
                    log.flush()
                    source.acknowledge(batch.position)
        except ConfigurationError as error:
            print(error, file=sys.stderr)
            sys.exit(STOPPED)
        except SourceError as error:
            print(error, file=sys.stderr)
            threading.Event().wait(_BACK_OFF)
        finally:
            source.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
