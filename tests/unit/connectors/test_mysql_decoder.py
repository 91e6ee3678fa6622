"""Events of a binary log as records: transactions, positions, and everything that must stop."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from struct import pack
from typing import Any

import pytest

from binlog_kit import (
    MADE,
    MARIA,
    anonymous,
    commit,
    decoder,
    event,
    fed,
    field,
    format_event,
    maria_gtid,
    payload,
    query,
    rows,
    table_map,
)
from trunkline.connectors.mysql import events
from trunkline.connectors.mysql.decoder import Decoder
from trunkline.errors import ConfigurationError, SourceError

WRITE, UPDATE, DELETE = 30, 31, 32


def told(found: Decoder) -> list[tuple[str, str, Any]]:
    return [(r.change, r.key, r.data.get("note")) for r in found.records]


def begun() -> list[bytes]:
    return [format_event(MARIA), maria_gtid(5), table_map()]


def test_a_transaction_of_mysql() -> None:
    found = fed(
        decoder(), format_event(), anonymous(), query("BEGIN"), table_map(),
        rows(WRITE, (1, "a"), (2, "b")), rows(UPDATE, (1, "a"), (1, "c"), images=2),
        rows(DELETE, (2, "b")),
    )  # fmt: skip
    assert told(found) == [
        ("create", "1", "a"), ("create", "2", "b"), ("update", "1", "c"), ("delete", "2", "b"),
    ]  # fmt: skip
    assert found.within
    assert (found.place.at, found.place.events) == (4, 3)
    found.feed(commit())
    assert not found.within
    assert found.place.at > 4
    assert found.place.events == 0
    assert len({record.id for record in found.records}) == 4


def test_an_update_of_the_key_is_a_delete_and_a_create() -> None:
    found = fed(decoder(), *begun(), rows(UPDATE, (1, "a"), (9, "a"), images=2))
    assert told(found) == [("delete", "1", "a"), ("create", "9", "a")]
    assert [record.id for record in found.records] == ["0-1-5-1.1.delete", "0-1-5-1.1"]


def test_rows_that_were_given_out_do_not_come_again() -> None:
    log = [*begun(), rows(WRITE, (1, "a"), (2, "b")), rows(WRITE, (3, "c")), commit()]
    whole = fed(decoder(), *log)
    rest = fed(decoder(events=1), *log)
    assert rest.records == whole.records[2:]
    assert rest.place == whole.place
    assert fed(decoder(events=2), *log[:4]).place.events == 2, "not fewer than were given out"
    again = fed(decoder(events=2), *log, maria_gtid(6), table_map(), rows(WRITE, (4, "d")))
    assert told(again) == [("create", "4", "d")], "the next transaction is read from its begin"


def test_tables_may_change_where_a_transaction_was_interrupted() -> None:
    log = [format_event(MARIA), maria_gtid(5), table_map("u"), rows(WRITE, (7, "u")), table_map(),
           rows(WRITE, (1, "a")), rows(WRITE, (2, "b")), commit()]  # fmt: skip
    both, one = ("shop.t", "shop.u"), ("shop.t",)
    for before, after in ((both, one), (one, both)):
        first = fed(decoder(*before), *log[:6])
        rest = fed(decoder(*after, events=first.place.events), *log)
        assert told(first)[-1:] + told(rest) == [("create", "1", "a"), ("create", "2", "b")]
        whole = fed(decoder(*after), *log)
        assert rest.records == whole.records[-1:], "with the id that it has whatever tables= says"


@pytest.mark.parametrize("group", [0, 2])
def test_an_alter_in_two_phases_counts_when_it_is_done(group: int) -> None:
    def phase(kind: int) -> bytes:
        more = (bytes(8) if group else b"") + bytes((kind,)) + bytes(8)
        return maria_gtid(5, 1 | group, more)

    alter = query("ALTER TABLE t RENAME TO u, ADD COLUMN a int")
    for undone in (2, 8):
        found = fed(decoder(), format_event(MARIA), phase(undone), alter)
        assert not found.within
        with pytest.raises(ConfigurationError, match="renamed"):
            fed(found, phase(4), alter)


def test_a_transaction_ends_at_the_latest_where_the_next_one_begins() -> None:
    first = [format_event(MARIA), maria_gtid(5), query("XA COMMIT X'61',X'',1")]
    found = fed(decoder(), *first)
    assert found.within
    begin = found._at
    fed(found, maria_gtid(6))
    assert (found.place.at, found.place.events) == (begin, 0)
    assert told(fed(decoder(events=1), *first, maria_gtid(6), table_map(), rows(WRITE, (1, "a"))))


def test_an_other_tables_rows_may_be_rolled_back() -> None:
    rolled_back = [maria_gtid(5), table_map("u"), rows(WRITE, (7, "u")), query("ROLLBACK")]
    assert not fed(decoder(), format_event(MARIA), *rolled_back).within
    with pytest.raises(ConfigurationError, match="rolled back"):
        fed(decoder("shop.u"), format_event(MARIA), *rolled_back)


def test_a_column_that_the_server_hides_is_in_no_record() -> None:
    hidden = table_map(columns=("id", "DB_ROW_HASH_1"))
    found = fed(decoder(), format_event(MARIA), maria_gtid(5), hidden, rows(WRITE, (1, "a")))
    assert [record.data for record in found.records] == [{"id": 1}]


def test_other_tables_are_passed_over() -> None:
    assert not fed(decoder("shop.other"), *begun(), rows(WRITE, (1, "a"))).records


@pytest.mark.parametrize("kind", [26, 39, 42, *range(172, 176), 200, 255])
def test_an_event_that_is_not_known_stops_with_its_type_and_place(kind: int) -> None:
    found = fed(decoder(), format_event(), anonymous())
    with pytest.raises(ConfigurationError, match=rf"type {kind} .*\n.*binlog.000001:\d+"):
        found.feed(event(kind, bytes(30)))


def test_garbage_of_whatever_type_is_an_error_or_nothing() -> None:
    quiet = set()
    for kind in range(1, 256):
        found = fed(decoder(), *begun())
        try:
            found.feed(event(kind, b"\x07" + bytes(29)))
            quiet.add(kind)
        except (ConfigurationError, SourceError):
            pass
        assert not found.records
    known = {events.QUERY, events.ROTATE, events.XID, events.TABLE_MAP, events.XA_PREPARE}
    known |= {events.HEARTBEAT, events.HEARTBEAT_2, events.GTID, events.ANONYMOUS_GTID}
    assert quiet <= known | {events.MARIA_GTID} | events.TELL_NOTHING


def test_a_damaged_event_is_an_error() -> None:
    whole = rows(WRITE, (1, "a"))
    found = fed(decoder(), *begun())
    for at in range(19, len(whole)):
        damaged = whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :]
        with pytest.raises(SourceError, match=r"wrong checksum.*\n.*binlog\.000001:\d+"):
            found.feed(damaged)


def test_what_a_row_event_had_before_its_error_is_not_given_out() -> None:
    found = fed(decoder(), *begun(), rows(WRITE, (1, "a")))
    whole = rows(WRITE, (2, "b"), (3, "c"))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        found.feed(event(WRITE, whole[19:-4] + b"\0"))
    assert told(found) == [("create", "1", "a")]
    assert found.place.events == 1


def test_compressed_rows_are_those_that_they_were() -> None:
    plain = rows(WRITE, (1, "a"), (2, "b" * 9))[19:-4]
    head, data = plain[:12], plain[12:]
    packed = bytes((0x81, len(data))) + zlib.compress(data)
    found = fed(decoder(), *begun(), event(169, head + packed))
    assert told(found) == [("create", "1", "a"), ("create", "2", "b" * 9)]
    assert found.size == len(data), "what memory holds, not what came"
    assert found.take()
    assert found.size == 0
    for broken in (bytes((0x81, len(data) + 1)), bytes((0x81, len(data) - 1)), b"\x91\x05"):
        with pytest.raises(SourceError, match="of the log"):
            found.feed(event(169, head + broken + packed[2:]))


TRANSACTION = (
    query("BEGIN"), table_map(), rows(WRITE, (1, "a"), (2, "b")),
    rows(UPDATE, (1, "a"), (1, "c"), images=2), rows(DELETE, (2, "b")), commit(),
)  # fmt: skip


def unpacked(found: Decoder, *outer: bytes) -> Decoder:
    """What a reader does: the events within are taken in one after the other."""
    for each in outer:
        found.feed(each)
        while found.unpacking:
            found.feed_packed()
    return found


@pytest.mark.parametrize("algorithm", [0, 255], ids=["zstd", "plain"])
def test_a_compressed_transaction_of_mysql_is_that_which_it_was(algorithm: int) -> None:
    plain = fed(decoder(), format_event(), anonymous(), *TRANSACTION)
    packed = payload(*TRANSACTION, algorithm=algorithm, end=900)
    found = unpacked(decoder(), format_event(), anonymous(), packed)
    assert [(r.id, r.change, r.key, r.data) for r in found.records] == [
        (r.id, r.change, r.key, r.data) for r in plain.records
    ]
    assert found.size == plain.size
    assert not found.within
    assert found.place == (*plain.place[:1], 900, *plain.place[2:])


def test_a_compressed_transaction_may_be_given_out_in_parts() -> None:
    """And the place in its middle is that of the same transaction as it was."""
    whole = unpacked(decoder(), format_event(), anonymous(), payload(*TRANSACTION)).records
    found = fed(decoder(), format_event(), anonymous(), payload(*TRANSACTION))
    while found.place.events < 2:
        assert found.feed_packed() > 19
    assert (found.place.at, found.place.events, found.within) == (4, 2, True)
    given = [record.id for record in found.take()]
    rest = unpacked(decoder(events=2), format_event(), anonymous(), payload(*TRANSACTION))
    assert given + [record.id for record in rest.records] == [record.id for record in whole]


def test_an_event_within_that_is_not_known_stops_before_it() -> None:
    broken = payload(*TRANSACTION[:3], event(39, bytes(30)), commit())
    found = fed(decoder(), format_event(), anonymous(), broken)
    while found.place.events < 1:
        found.feed_packed()
    with pytest.raises(ConfigurationError, match=r"type 39 .*\n.*binlog.000001:\d+"):
        found.feed_packed()
    assert told(found) == [("create", "1", "a"), ("create", "2", "b")]
    assert (found.place.at, found.place.events) == (4, 1)


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda body: body[:-3], ConfigurationError),  # shorter than it says
        (lambda body: body.replace(b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfe"), SourceError),
        (lambda body: body.replace(b"\x02\x01\x00", b"\x02\x01\x07"), SourceError),
        (lambda body: payload(payload(*TRANSACTION))[19:-4], ConfigurationError),
        (lambda body: b"\x02\x03\xfc\xff\x00\x01\x01\x0a\x00" + bytes(10), ConfigurationError),
        (lambda body: payload(*TRANSACTION, claims=1 << 31)[19:-4], SourceError),
        (lambda body: payload(*TRANSACTION, claims=100)[19:-4], SourceError),
        (lambda body: payload(*TRANSACTION, claims=9_000)[19:-4], SourceError),
    ],
    ids=["cut", "no zstd", "algorithm", "nested", "half an event", "huge", "longer", "shorter"],
)
def test_a_damaged_transaction_is_an_error(
    damage: Callable[[bytes], bytes], error: type[Exception]
) -> None:
    found = fed(decoder(), format_event(), anonymous())
    with pytest.raises(error, match="in the log at"):
        found.feed(event(40, damage(payload(*TRANSACTION)[19:-4])))
    assert not found.records
    assert not found.unpacking


def test_without_full_metadata_it_stops_with_the_sql() -> None:
    found = fed(decoder(), format_event(), anonymous(), query("BEGIN"))
    with pytest.raises(ConfigurationError, match="SET GLOBAL binlog_row_metadata = 'FULL';"):
        found.feed(table_map(optional=field(1, b"\0") + field(2, b"\x2d")))


def test_rows_without_all_columns_stop() -> None:
    found = fed(decoder(), *begun())
    partial = rows(WRITE, (1, "a"))[19:-4].replace(b"\x02\xff", b"\x02\x01", 1)
    with pytest.raises(ConfigurationError, match="binlog_row_image"):
        found.feed(event(WRITE, partial))


def test_xa_transactions_stop_before_their_first_row() -> None:
    found = fed(decoder(), format_event(), anonymous(), query("XA START X'61',X'',1"), table_map())
    with pytest.raises(ConfigurationError, match="XA transaction"):
        found.feed(rows(WRITE, (1, "a")))
    assert not found.records


XA_PREPARE = 38
XID = "x'61',x'62',1"


def decided(prepared: set[str] | None, how: str = "COMMIT") -> Decoder:
    """A decoder of shop.t that has met the end of an XA transaction which was prepared before."""
    found = decoder()
    found.prepared = prepared
    return fed(found, format_event(), anonymous(), query(f"XA {how} X'61',X'62',1"))


def test_an_xa_transaction_that_was_prepared_before_the_begin_stops_when_it_is_committed() -> None:
    with pytest.raises(ConfigurationError, match=r"x'61',x'62',1 is committed, and was prepared"):
        decided(set())
    for known in ({XID}, None):  # prepared since; or a position of before this was written down
        assert not decided(known).within
    assert decided({XID}).prepared == set()
    assert decided(set(), "ROLLBACK").prepared == set()


@pytest.mark.parametrize(("one_phase", "prepared"), [(0, {XID}), (1, set())])
def test_xa_transactions_of_other_tables_are_known_until_they_are_decided(
    one_phase: int, prepared: set[str]
) -> None:
    found = decoder("shop.other")
    found.prepared = set()
    fed(found, format_event(), anonymous(), query(f"XA START {XID}"), table_map())
    fed(found, rows(WRITE, (1, "a")), query(f"XA END {XID}"))
    fed(found, event(XA_PREPARE, pack("<BiII", one_phase, 1, 1, 1) + b"ab"))
    assert found.prepared == prepared
    assert not found.within


def test_another_file_of_the_same_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="made anew"):
        decoder().feed(format_event(made=MADE + 1))


def test_a_transaction_that_a_file_cuts_off_stops() -> None:
    found = fed(decoder(), *begun(), rows(WRITE, (1, "a")))
    rotate = event(4, (4).to_bytes(8, "little") + b"binlog.000002", flags=0x20, time=0)
    with pytest.raises(ConfigurationError, match=r"middle of a transaction.*binlog\.000002"):
        fed(found, rotate, format_event(MARIA, MADE + 9))


def test_a_file_follows_a_file() -> None:
    found = fed(decoder(), *begun(), rows(WRITE, (1, "a")), commit())
    rotate = event(4, (4).to_bytes(8, "little") + b"binlog.000002", flags=0x20, time=0)
    fed(found, rotate, format_event(MARIA, MADE + 9))
    assert found.place[:3] == ("binlog.000002", 4, MADE + 9)
    assert found.gtids == {"0": "0-1-5"}
