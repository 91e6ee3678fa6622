"""The shop of the crash test: a table whose rows change without a pause, and all its history."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from contextlib import closing
from typing import Any

import psycopg2
from psycopg2.extras import execute_values

State = int | None
"""What a change made of a row: its number, or None when it was deleted."""


class Shop:
    """Changes rows of the table ``orders`` in a thread, ``per_second`` in small transactions:
    ``changes`` of them or more, until it is told that it is ``enough``.

    Each change of a key has the next number of that key. ``history``: per key, what each change
    made of its row, in the order of the commits.
    """

    def __init__(self, dsn: str, *, keys: int, changes: int, per_second: int, seed: int) -> None:
        self._dsn = dsn
        self._keys = [f"order-{number:05}" for number in range(keys)]
        self._changes = changes
        self._per_second = per_second
        self._random = random.Random(seed)
        self._numbers: dict[str, int] = defaultdict(int)
        self._thread = threading.Thread(target=self._run)
        self.history: dict[str, list[State]] = defaultdict(list)
        self.written = 0
        self.deletes = False
        """Whether rows are deleted, too."""
        self.enough = False
        """Whether it may end: as long as workers are killed, there must be something to do."""
        self.failure: BaseException | None = None

    def open(self) -> None:
        """Make the table, with rows for three quarters of the keys."""
        with closing(psycopg2.connect(self._dsn)) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE orders (id text PRIMARY KEY, status text, number bigint)")
            rows = [(key, *self._next(key)) for key in self._keys[: len(self._keys) * 3 // 4]]
            execute_values(cursor, "INSERT INTO orders VALUES %s", rows)
            connection.commit()

    def start(self) -> None:
        """Begin to change rows."""
        self._thread.start()

    def join(self) -> None:
        """Wait until every change is written. Raises what the writer failed with."""
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def rows(self, table: str) -> dict[str, tuple[Any, ...]]:
        """The rows of a table now, by their id."""
        with closing(psycopg2.connect(self._dsn)) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table}")
            return {row[0]: row[1:] for row in cursor.fetchall()}

    def _run(self) -> None:
        try:
            with closing(psycopg2.connect(self._dsn)) as connection:
                self._write(connection)
        except BaseException as failure:  # noqa: BLE001 - ``join`` raises it
            self.failure = failure

    def _write(self, connection: Any) -> None:
        began = time.monotonic()
        while self.written < self._changes or not self.enough:
            size = self._random.randint(1, 60)
            with connection.cursor() as cursor:
                for key in self._random.choices(self._keys, k=size):
                    self._change(cursor, key)
            connection.commit()
            self.written += size
            time.sleep(max(0.0, began + self.written / self._per_second - time.monotonic()))

    def _change(self, cursor: Any, key: str) -> None:
        there = bool(self.history[key]) and self.history[key][-1] is not None
        if there and self.deletes and self._random.random() < 0.05:
            self.history[key].append(None)
            cursor.execute("DELETE FROM orders WHERE id = %s", (key,))
        elif there:
            status, number = self._next(key)
            statement = "UPDATE orders SET status = %s, number = %s WHERE id = %s"
            cursor.execute(statement, (status, number, key))
        else:
            cursor.execute("INSERT INTO orders VALUES (%s, %s, %s)", (key, *self._next(key)))

    def _next(self, key: str) -> tuple[str, int]:
        self._numbers[key] += 1
        self.history[key].append(self._numbers[key])
        return f"state {self._numbers[key]}", self._numbers[key]
