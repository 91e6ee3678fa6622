"""What a chunk's snapshot must have seen, and the marks among the changes."""

from __future__ import annotations

from struct import pack

import pytest

from trunkline.connectors.postgres.chunks import Chunk, NotYet, Seen, _follows, _require_shown
from trunkline.connectors.postgres.decoder import Decoder
from trunkline.connectors.postgres.values import Types

EPOCH = 1 << 32
"""Transaction ids in snapshots count on where those in the stream begin again."""


def test_a_transaction_that_was_open_before_is_waited_for() -> None:
    with pytest.raises(NotYet, match=r"were open before must end .*: 7$"):
        _require_shown((EPOCH + 7, EPOCH + 12), Seen(EPOCH + 10))
    _require_shown((EPOCH + 12,), Seen(EPOCH + 10))


def test_a_transaction_that_has_come_and_is_not_shown_makes_it_read_again() -> None:
    with pytest.raises(NotYet, match=r"committed, and not shown yet: 12$"):
        _require_shown((EPOCH + 12, EPOCH + 13), Seen(EPOCH + 10, {11, 12}))
    _require_shown((EPOCH + 13,), Seen(EPOCH + 10, {11, 12}))


def test_what_a_snapshot_has_seen_is_forgotten_and_what_it_may_not_is_kept() -> None:
    seen = Seen(0, {11, 12, 20, 25})
    seen.settle(Chunk([], None, None, EPOCH + 10, (EPOCH + 12,), EPOCH + 20))
    assert (seen.opened, seen.streamed) == (EPOCH + 10, {12, 20, 25})


def test_transaction_ids_go_round() -> None:
    assert _follows(3, EPOCH - 5)
    assert not _follows(EPOCH - 5, 3)
    assert _follows(7, 7)


def begin(transaction: int) -> bytes:
    return b"B" + pack(">QqI", 100, 0, transaction)


def message(prefix: str, content: str) -> bytes:
    text = content.encode()
    return b"M" + pack(">BQ", 1, 90) + prefix.encode() + b"\0" + pack(">I", len(text)) + text


def test_marks_are_told_and_the_messages_of_others_are_not() -> None:
    decoder = Decoder({}, lambda oids: Types(), ask=dict)
    decoder.feed(begin(5))
    decoder.feed(message("outbox", "mark"))
    decoder.feed(message("trunkline", "mark"))
    decoder.follow_transactions(True)
    decoder.feed(begin(6))
    assert decoder.take_all() == ([], [(0, "mark")], [6])
    decoder.feed(begin(7))
    decoder.follow_transactions(False)
    assert decoder.take_all() == ([], [], [])
