"""Whether a position is in the log of a server that took over: timelines, without a server."""

from __future__ import annotations

from typing import Any

import pytest

from trunkline.connectors.postgres.timeline import require_shared, switches
from trunkline.errors import ConfigurationError

HISTORY = "1\t0/3000148\tno recovery target specified\n\n2\tA/B0\tbefore 2026-11-30 10:00:00+00\n"


class Replication:
    """A replication cursor on timeline 3. ``bytes``: how servers before PostgreSQL 15 answer."""

    def __init__(self, history: Any = HISTORY) -> None:
        self._history = history
        self.asked: list[str] = []

    def execute(self, command: str) -> None:
        self.asked.append(command)

    def fetchone(self) -> tuple[Any, ...]:
        if self.asked[-1] == "IDENTIFY_SYSTEM":
            return ("7", 3, "A/C0", "shop")
        return ("00000003.history", self._history)


def test_a_history_tells_up_to_where_a_log_is_shared() -> None:
    assert switches(HISTORY) == {1: 0x3000148, 2: 0xA000000B0}


@pytest.mark.parametrize("history", [HISTORY, memoryview(HISTORY.encode())])
def test_a_position_up_to_there_is_one_of_the_new_log(history: Any) -> None:
    assert require_shared(Replication(history), 1, 0x3000148, "shop") == 3


@pytest.mark.parametrize(("stored", "lsn"), [(1, 0x3000149), (2, 0xA000000B1), (4, 1)])
def test_one_behind_it_or_of_a_strange_timeline_is_refused(stored: int, lsn: int) -> None:
    with pytest.raises(ConfigurationError, match=rf"is of timeline {stored}, .* on timeline 3"):
        require_shared(Replication(), stored, lsn, "shop")


@pytest.mark.parametrize("stored", [None, 3])
def test_of_the_same_timeline_nothing_more_is_asked(stored: int | None) -> None:
    cursor = Replication()
    assert require_shared(cursor, stored, 1, "shop") == 3
    assert cursor.asked == ["IDENTIFY_SYSTEM"]
