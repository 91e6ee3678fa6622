"""The table that the CDC and latency jobs read, who changes it, and its canonical type.

``python -m benchmarks.shop DSN RATE SECONDS`` changes a row at that rate, each in a transaction of
its own, and prints the moments after the commits as JSON: in a process of its own, so that it
shares no interpreter with whoever measures.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any, TypedDict

import psycopg2

from benchmarks.orders import SCHEMAS
from benchmarks.system import ROOT
from trunkline.schemas.types import avro_type

TABLE = "public.shop_orders"
RATE = 200

MAKE = f"""
DROP TABLE IF EXISTS {TABLE};
CREATE TABLE {TABLE} (
    id bigint PRIMARY KEY,
    status text NOT NULL,
    customer text NOT NULL,
    total_cents bigint NOT NULL,
    note text,
    updated_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO {TABLE}
SELECT n, 'placed', 'cus-' || lpad((n %% 50000)::text, 6, '0'), n * 37 %% 100000,
       CASE WHEN n %% 4 = 0 THEN 'leave it at the door' END
FROM generate_series(1, %s) AS n
"""
CHANGE_MANY = f"""
UPDATE {TABLE} SET status = 'paid', total_cents = total_cents + 1, updated_at = now()
WHERE id BETWEEN %s AND %s
"""
CHANGE_ONE = f"UPDATE {TABLE} SET status = 'shipped', total_cents = %s WHERE id = %s"


class ShopRow(TypedDict):
    id: int
    status: str
    customer: str
    total_cents: int
    note: str | None
    updated_at: datetime


avro_type(ShopRow, (SCHEMAS / "ShopRow.avsc").read_text("utf-8"))


def canonical(data: dict[str, Any]) -> ShopRow:
    """A row as CDC reads it in its canonical form."""
    return ShopRow(
        id=data["id"],
        status=data["status"],
        customer=data["customer"],
        total_cents=data["total_cents"],
        note=data["note"],
        updated_at=data["updated_at"],
    )


@contextmanager
def connected(dsn: str) -> Iterator[Any]:
    """A cursor that commits each statement."""
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def make(dsn: str, rows: int) -> None:
    """Make the table with so many rows."""
    with connected(dsn) as cursor:
        cursor.execute(MAKE, (rows,))
        cursor.execute("CHECKPOINT")


def change_many(dsn: str, transactions: int, each: int) -> None:
    """Change rows in a number of transactions, one after the other."""
    with connected(dsn) as cursor:
        for number in range(transactions):
            cursor.execute(CHANGE_MANY, (number * each + 1, (number + 1) * each))


def forget_readers(dsn: str) -> None:
    """Drop all slots and publications, so that no WAL is kept for a system that is gone."""
    with connected(dsn) as cursor:
        cursor.execute("SELECT slot_name FROM pg_replication_slots WHERE NOT active")
        for (slot,) in cursor.fetchall():
            cursor.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
        cursor.execute("SELECT pubname FROM pg_publication")
        for (publication,) in cursor.fetchall():
            cursor.execute(f'DROP PUBLICATION "{publication}"')


def change_steadily(dsn: str, rate: float, seconds: float) -> list[float]:
    """Commit a change at fixed moments, late ones at once; the n-th sets ``total_cents`` to n."""
    committed = []
    with connected(dsn) as cursor:
        begin = time.monotonic()
        for number in range(int(rate * seconds)):
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))
            cursor.execute(CHANGE_ONE, (number, number % 1000 + 1))
            committed.append(time.time())
    return committed


def changer(dsn: str, seconds: int) -> subprocess.Popen[str]:
    """A process that changes rows steadily, and ends with what ``change_steadily`` returns."""
    command = [sys.executable, "-m", "benchmarks.shop", dsn, str(RATE), str(seconds)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


if __name__ == "__main__":
    _dsn, _rate, _seconds = sys.argv[1:]
    json.dump(change_steadily(_dsn, float(_rate), float(_seconds)), sys.stdout)
