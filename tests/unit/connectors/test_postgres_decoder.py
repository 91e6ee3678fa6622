"""The decoder of pgoutput, fed with messages as the PostgreSQL documentation lays them out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.connectors.postgres.decoder import Decoder, Wanted, lsn_number, lsn_text, row_at
from trunkline.connectors.postgres.values import UNCHANGED, Types
from trunkline.errors import ConfigurationError

ORDERS, OTHER = 501, 502
NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)
MICROS = int((NEW_YEAR - datetime(2000, 1, 1, tzinfo=UTC)).total_seconds()) * 1_000_000


def begin(commit: int = 0x200) -> bytes:
    return b"B" + pack(">QqI", commit, MICROS, 7)


def commit(lsn: int = 0x200, end: int = 0x230) -> bytes:
    return b"C" + pack(">BQQq", 0, lsn, end, MICROS)


def relation(
    oid: int = ORDERS,
    name: str = "orders",
    identity: str = "d",
    columns: Sequence[tuple[str, int, bool]] = (("id", 23, True), ("note", 25, False)),
) -> bytes:
    head = b"R" + pack(">I", oid) + b"public\0" + name.encode() + b"\0" + identity.encode()
    each = [pack(">B", key) + n.encode() + b"\0" + pack(">Ii", t, -1) for n, t, key in columns]
    return head + pack(">H", len(columns)) + b"".join(each)


def row(*values: Any) -> bytes:
    parts = [pack(">H", len(values))]
    for value in values:
        if value is None:
            parts.append(b"n")
        elif value is UNCHANGED:
            parts.append(b"u")
        else:
            parts.append(b"t" + pack(">I", len(value)) + value)
    return b"".join(parts)


def insert(*values: Any, oid: int = ORDERS) -> bytes:
    return b"I" + pack(">I", oid) + b"N" + row(*values)


def update(*values: Any, old: bytes = b"") -> bytes:
    return b"U" + pack(">I", ORDERS) + old + b"N" + row(*values)


def delete(kind: bytes, *values: Any) -> bytes:
    return b"D" + pack(">I", ORDERS) + kind + row(*values)


def truncate(*oids: int) -> bytes:
    return b"T" + pack(">IB", len(oids), 0) + pack(f">{len(oids)}I", *oids)


def wanted(*keys: str, stream: str = "public.orders") -> dict[int, Wanted]:
    return {ORDERS: Wanted(stream, tuple(tuple(key.split()) for key in keys or ("id",)))}


def never_asked() -> dict[int, Wanted]:
    raise AssertionError("nothing was altered")


def decoder(*keys: str, **more: Any) -> Decoder:
    return Decoder(wanted(*keys), lambda oids: Types(), **{"ask": never_asked} | more)


def decoded(*messages: bytes, by: Decoder | None = None) -> list[tuple[str, str, dict[str, Any]]]:
    by = by or decoder()
    for message in messages:
        by.feed(message)
    return [(record.change, record.key, record.data) for record in by.take()]


def test_changes_become_records() -> None:
    assert decoded(
        begin(),
        relation(),
        insert(b"1", b"new"),
        update(b"1", None),
        delete(b"K", b"1", None),
        truncate(ORDERS),
        commit(),
    ) == [
        ("create", "1", {"id": 1, "note": "new"}),
        ("update", "1", {"id": 1, "note": None}),
        ("delete", "1", {"id": 1}),
        ("truncate", "", {}),
    ]


def test_a_record_has_the_transactions_place_and_time() -> None:
    reader = decoder()
    for message in (begin(0xABC), relation(), insert(b"1", b"x")):
        reader.feed(message)
    (record,) = reader.take()
    assert (record.id, record.time, record.stream) == ("ABC-1", NEW_YEAR, "public.orders")


def test_an_update_of_the_key_is_a_delete_and_a_create() -> None:
    reader = decoder()
    for message in (begin(), relation(), update(b"2", b"x", old=b"K" + row(b"1", None))):
        reader.feed(message)
    gone, new = reader.take()
    assert (gone.change, gone.key, gone.data) == ("delete", "1", {"id": 1})
    assert (new.change, new.key, new.data) == ("create", "2", {"id": 2, "note": "x"})
    assert gone.id != new.id


def test_with_full_identity_the_old_row_is_known() -> None:
    both = (("id", 23, True), ("note", 25, True))
    old = b"O" + row(b"1", b"big")
    assert decoded(
        begin(),
        relation(identity="f", columns=both),
        update(b"1", UNCHANGED, old=old),
        update(b"2", UNCHANGED, old=old),
        delete(b"O", b"2", b"big"),
    ) == [
        ("update", "1", {"id": 1, "note": "big"}),
        ("delete", "1", {"id": 1, "note": "big"}),
        ("create", "2", {"id": 2, "note": "big"}),
        ("delete", "2", {"id": 2, "note": "big"}),
    ]


@pytest.mark.parametrize("placeholder", [UNCHANGED, None, "(unchanged)"])
def test_an_unchanged_value_has_the_placeholder(placeholder: object) -> None:
    messages = begin(), relation(), update(b"1", UNCHANGED)
    (found,) = decoded(*messages, by=decoder(unchanged=placeholder))
    assert found == ("update", "1", {"id": 1, "note": placeholder})


def test_a_large_key_is_known_from_the_old_one() -> None:
    messages = begin(), relation(), update(UNCHANGED, b"x", old=b"K" + row(b"1", None))
    assert decoded(*messages) == [("update", "1", {"id": 1, "note": "x"})]


def test_new_columns_come_with_a_new_relation() -> None:
    more = (("id", 23, True), ("cents", 23, False), ("note", 25, False))
    assert decoded(
        begin(),
        relation(),
        insert(b"1", b"x"),
        relation(columns=more),
        insert(b"2", b"99", b"y"),
        by=decoder(ask=wanted),
    ) == [
        ("create", "1", {"id": 1, "note": "x"}),
        ("create", "2", {"id": 2, "cents": 99, "note": "y"}),
    ]


def test_what_is_not_wanted_is_passed_over() -> None:
    assert decoded(
        begin(),
        relation(OTHER, "other"),
        insert(b"1", b"x", oid=OTHER),
        b"Y" + pack(">I", 9) + b"public\0mood\0",
        b"O" + pack(">Q", 5) + b"elsewhere\0",
        b"M" + pack(">BQ", 0, 5) + b"prefix\0" + pack(">I", 1) + b"x",
        relation(),
        truncate(OTHER, ORDERS),
        commit(),
    ) == [("truncate", "", {})]


def test_which_transactions_have_truncated_wanted_tables() -> None:
    """Also when their records were given out before."""
    found = decoder(commit=0x200, index=1)
    for payload in (begin(), relation(), relation(OTHER, "other"), truncate(ORDERS), commit()):
        found.feed(payload)
    assert (found.truncated, found.records) == ({7}, [])
    for payload in (begin(0x300), truncate(OTHER), commit(0x300, 0x330)):
        found.feed(payload)
    assert found.truncated == {7}


def test_a_table_is_known_by_its_oid() -> None:
    """Changes of before it was renamed come under its name of then."""
    messages = begin(), relation(name="former"), insert(b"1", b"x"), commit()
    reader = decoder(ask=wanted)
    assert [change for change, _, _ in decoded(*messages, by=reader)] == ["create"]


def test_another_table_of_a_known_name_is_not_wanted() -> None:
    assert decoded(begin(), relation(OTHER), insert(b"1", b"x", oid=OTHER)) == []


def test_a_table_that_is_altered_is_asked_for_and_what_came_before_is_there() -> None:
    def refused() -> dict[int, Wanted]:
        raise ConfigurationError("renamed")

    reader = decoder(ask=refused)
    with pytest.raises(ConfigurationError, match="renamed"):
        decoded(begin(), relation(), insert(b"1", b"x"), relation(name="old"), by=reader)
    assert [record.key for record in reader.take()] == ["1"]
    assert (reader.commit, reader.index) == (0x200, 1)


def test_with_full_identity_a_table_that_comes_again_is_asked_for() -> None:
    """The message is the same, and the key may be another one."""
    both = relation(columns=(("tenant", 23, True), ("id", 23, True)), identity="f")
    reader = decoder(ask=lambda: wanted("tenant id"))
    before, after = decoded(begin(), both, insert(b"1", b"1"), both, insert(b"1", b"1"), by=reader)
    assert (before[1], after[1]) == ("1", '["1","1"]')


def test_with_full_identity_the_key_has_its_names_of_then() -> None:
    both = relation(columns=(("tenant", 23, True), ("id", 23, True)), identity="f")
    reader = decoder("tenant_id id", "tenant id")
    assert decoded(begin(), both, insert(b"1", b"2"), by=reader)[0][1] == '["1","2"]'


def test_with_full_identity_a_part_of_the_key_is_none() -> None:
    both = relation(columns=(("tenant", 23, True), ("id", 23, True)), identity="f")
    with pytest.raises(ConfigurationError, match=r"\(tenant_id, id\) is not in the log"):
        decoded(begin(), both, by=decoder("tenant_id id"))


def test_a_table_that_had_no_key_for_a_while_has_its_present_one() -> None:
    """PostgreSQL took no UPDATE and no DELETE of it meanwhile."""
    keyless = relation(columns=(("id", 23, False), ("note", 25, False)))
    assert decoded(begin(), keyless, insert(b"1", b"x"))[0][1] == "1"


def test_a_table_that_lost_its_key_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r'ALTER TABLE "public"."orders" ADD PRIMARY KEY'):
        decoded(begin(), relation(columns=(("note", 25, False),)))


@given(st.integers(0, 6), st.booleans())
def test_it_goes_on_in_the_middle_of_a_transaction(cut: int, ended: bool) -> None:
    """The server sends a transaction again from its start: no change is lost, none comes twice."""
    changes = [insert(b"%d" % n, b"x") for n in range(6)]
    messages = [begin(), relation(), *changes, commit()]
    first = decoder()
    before = decoded(*messages[: 2 + cut], *([commit()] if ended and cut == 6 else []), by=first)
    second = decoder(end=first.end, commit=first.commit, index=first.index)
    after = decoded(*messages, begin(0x300), relation(), *changes, by=second)
    assert [key for _, key, _ in before + after] == [str(n) for n in [*range(6), *range(6)]]


def test_the_end_is_before_the_transaction_until_that_is_whole() -> None:
    """What was committed before it is here; and the driver may have confirmed as much."""
    reader = decoder(end=0x100)
    for message in (begin(0x200), relation(), insert(b"1", b"x")):
        reader.feed(message)
    reader.reached(0x220)
    assert (reader.end, reader.commit, reader.index) == (0x200, 0x200, 1)
    reader.feed(commit(0x200, 0x230))
    assert (reader.end, reader.commit, reader.index) == (0x230, 0, 0)
    reader.reached(0x260)
    assert reader.end == 0x260


@given(st.lists(st.none() | st.just(UNCHANGED) | st.binary(max_size=300), max_size=8))
def test_a_row_reads_back(values: list[Any]) -> None:
    payload = b"xx" + row(*values) + b"rest"
    found, end = row_at(payload, 2)
    assert found == values
    assert payload[end:] == b"rest"


@given(st.integers(0, 2**64 - 1))
def test_an_lsn_reads_back(lsn: int) -> None:
    assert lsn_number(lsn_text(lsn)) == lsn


def test_an_lsn_is_written_as_postgresql_does() -> None:
    assert lsn_text(0x1_016B3748) == "1/16B3748"
