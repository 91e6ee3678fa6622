"""Dead letters for tests, as delivery writes them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from trunkline import Rejected
from trunkline.streams.dlq.envelope import dead_letter
from trunkline.streams.dlq.letters import DeadLetter

DIED = datetime(2026, 11, 22, 14, 30, tzinfo=UTC)


def letter(
    error: BaseException | str = "no such customer", *, minutes: float = 0, **changes: Any
) -> DeadLetter:
    """A dead letter of the destination ``f.erp``, dead so many minutes after DIED."""
    _, key, value, headers = dead_letter(
        "f.erp.dlq",
        key=b"k1",
        value=b"\x00\x01",
        headers=[("ce_id", b"1"), ("ce_type", b"order.paid"), ("tl_from", b"orders/2/7/1")],
        came_from="f.erp.inbox/2/9",
        stage="deliver",
        error=Rejected(error) if isinstance(error, str) else error,
        attempts=4,
        at=(DIED + timedelta(minutes=minutes)).timestamp(),
    )
    made = DeadLetter("f.erp.dlq", 2, 17, DIED + timedelta(days=1), key, value, headers)
    return replace(made, **changes)
