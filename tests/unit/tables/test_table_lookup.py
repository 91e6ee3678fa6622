"""Looking up: what is returned, and what is raised."""

from __future__ import annotations

from typing import Any

import pytest

from tables_kit import Orders


@pytest.fixture
def orders() -> Orders:
    made = Orders()
    made.apply(made.put("1", "paid"), made.put("2", "paid"), made.put("3", "new"))
    return made


def test_a_table_is_asked_as_a_dictionary_is(orders: Orders) -> None:
    table = orders.table
    assert table.get("1") == table["1"] == {"id": "1", "status": "paid", "total_cents": 1}
    assert table.get("9") is None
    assert table.get("9", "nobody") == "nobody"
    assert ("1" in table, "9" in table, 1 in table) == (True, False, False)
    with pytest.raises(KeyError, match="'9'"):
        table["9"]


def test_an_index_returns_all_rows_of_a_value(orders: Orders) -> None:
    by_status = orders.by_status
    assert [row["id"] for row in by_status["paid"]] == ["1", "2"]
    assert (by_status.get("void"), "new" in by_status, "void" in by_status) == ([], True, False)
    assert None not in by_status
    with pytest.raises(KeyError, match="'void'"):
        by_status["void"]


@pytest.mark.parametrize("key", [None, 7, b"1"])
def test_a_key_that_is_no_text_is_a_mistake_of_the_route(orders: Orders, key: Any) -> None:
    with pytest.raises(TypeError, match="a key, which is a text"):
        orders.table.get(key)
    with pytest.raises(TypeError, match="a key, which is a text"):
        orders.table[key]


def test_changing_what_was_looked_up_changes_no_row(orders: Orders) -> None:
    orders.table["1"]["status"] = "changed"
    orders.by_status["paid"][0]["status"] = "changed"
    assert orders.table["1"]["status"] == "paid"
    assert len(orders.by_status["paid"]) == 2


def test_a_row_that_moves_while_an_index_is_read_is_under_one_value(
    orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry was read before the row was written, or the other way around."""
    entries = list(orders.store.entries(b"\x01spaid"))
    orders.apply(orders.put("1", "new"))
    monkeypatch.setattr(orders.store, "entries", lambda prefix: entries)
    assert [row["id"] for row in orders.by_status.get("paid")] == ["2"]
