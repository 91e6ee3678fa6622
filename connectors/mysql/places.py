"""Places in a server's binary log."""

from __future__ import annotations

from typing import NamedTuple

from trunkline.connectors.mysql.names import BEGIN_ANEW


class Place(NamedTuple):
    """The end of a transaction in the log, and how many events with rows of the next one are given
    out. ``made``: when the file was made, which tells it from another one of its name.

    Events of all tables count: which ones are wanted may be another choice at the next start, and
    a count of rows of ours would then leave out, or repeat, rows of this transaction."""

    file: str
    at: int
    made: int = 0
    events: int = 0

    @property
    def order(self) -> tuple[int, int, int]:
        """Of two places in one server's log the later one has the greater order."""
        return int(self.file.rpartition(".")[2]), self.at, self.events


def made_anew(file: str) -> str:
    """What to say of a log that is another one than was read."""
    return (
        f"{file} is not the file that the stored position is of: the server's log was made anew "
        f"(RESET MASTER, or another server). {BEGIN_ANEW}"
    )
