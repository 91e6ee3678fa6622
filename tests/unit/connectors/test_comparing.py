"""What a comparison makes of rows that have gone."""

from __future__ import annotations

import json

import pytest

from trunkline.connectors.base import Position
from trunkline.connectors.comparing import Comparison
from trunkline.errors import SourceError


def compared(stored: Position | None) -> Comparison:
    return Comparison("items", "items", remember=1000, max_deleted=0.5, stored=stored)


def look(comparison: Comparison, *keys: int) -> list[str]:
    """Begin a look that has these rows: what each is."""
    comparison.begin()
    return [comparison.row(str(key), {"id": key}, b"x")[0] for key in keys]


def test_rows_that_an_interrupted_look_has_told_hide_no_others_that_have_gone() -> None:
    """A table whose rows all have another key: at the second attempt its new rows are known, and
    those that have gone would be half of all, which is allowed."""
    first = compared(None)
    look(first, *range(120))
    assert first.unseen() == []
    first.end()
    position = json.loads(json.dumps(first.position()))
    for attempt in range(3):
        again = compared(position)
        found = look(again, *range(1000, 1120))
        assert set(found) == {"same" if attempt else "new"}
        with pytest.raises(SourceError, match="120 of 120 rows"):
            again.unseen()
        position = json.loads(json.dumps(again.position()))
    back = compared(position)
    look(back, *range(120), *range(1000, 1120))
    assert back.unseen() == []
    back.end()
    assert "before" not in back.position()
    look(back, *range(150))
    assert len(back.unseen()) == 120, "of 240"
