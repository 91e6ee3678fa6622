"""The CDC job's table in MariaDB: the same rows, changes and rate as in ``shop``.

``python -m benchmarks.shop_mariadb DSN RATE SECONDS`` changes rows steadily, as that module does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pymysql

from benchmarks.shop import RATE
from benchmarks.system import ROOT

TABLE = "test.shop_orders"
USER, PASSWORD = "bench", "bench"

MAKE = f"""
CREATE OR REPLACE TABLE {TABLE} (
    id bigint PRIMARY KEY,
    status varchar(20) NOT NULL,
    customer varchar(20) NOT NULL,
    total_cents bigint NOT NULL,
    note text,
    updated_at timestamp(6) NOT NULL DEFAULT current_timestamp(6)
)
"""
FILL = f"""
INSERT INTO {TABLE} (id, status, customer, total_cents, note)
SELECT seq, 'placed', concat('cus-', lpad(seq %% 50000, 6, '0')), seq * 37 %% 100000,
       CASE WHEN seq %% 4 = 0 THEN 'leave it at the door' END
FROM seq_1_to_%s
"""
CHANGE_MANY = f"""
UPDATE {TABLE} SET status = 'paid', total_cents = total_cents + 1, updated_at = now(6)
WHERE id BETWEEN %s AND %s
"""
CHANGE_ONE = f"UPDATE {TABLE} SET status = 'shipped', total_cents = %s WHERE id = %s"


@contextmanager
def connected(dsn: str) -> Iterator[Any]:
    """A cursor that commits each statement."""
    url = urlsplit(dsn)
    with (
        closing(
            pymysql.connect(
                host=url.hostname,
                port=url.port or 0,
                user=url.username,
                password=url.password or "",
                database=url.path.strip("/"),
                ssl_disabled=True,
                autocommit=True,
            )
        ) as connection,
        connection.cursor() as cursor,
    ):
        yield cursor


def prepare(address: str) -> str:
    """Make a user with a password, which Debezium wants; its dsn."""
    with connected(address) as cursor:
        cursor.execute(f"CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'")
        cursor.execute(f"GRANT ALL ON *.* TO {USER}@'%'")
    url = urlsplit(address)
    return f"mysql://{USER}:{PASSWORD}@{url.hostname}:{url.port}/test"


def make(dsn: str, rows: int) -> None:
    """Make the table with so many rows."""
    with connected(dsn) as cursor:
        cursor.execute(MAKE)
        cursor.execute(FILL, (rows,))


def change_many(dsn: str, transactions: int, each: int) -> None:
    """Change rows in a number of transactions, one after the other."""
    with connected(dsn) as cursor:
        for number in range(transactions):
            cursor.execute(CHANGE_MANY, (number * each + 1, (number + 1) * each))


def forget_readers(dsn: str) -> None:
    """Nothing: who reads the log leaves nothing at the server."""


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
    command = [sys.executable, "-m", "benchmarks.shop_mariadb", dsn, str(RATE), str(seconds)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


if __name__ == "__main__":
    _dsn, _rate, _seconds = sys.argv[1:]
    json.dump(change_steadily(_dsn, float(_rate), float(_seconds)), sys.stdout)
