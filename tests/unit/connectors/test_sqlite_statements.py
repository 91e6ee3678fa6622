"""Statements of operations on SQLite, whose driver knows less of them than others."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from sqlalchemy import text

from trunkline.connectors.base import SqlRequest
from trunkline.connectors.sql.calls import StatementRunner
from trunkline.connectors.sql.engine import sql_engine
from trunkline.errors import Rejected


@pytest.mark.parametrize("calls", [None, "tl_calls"])
def test_a_statement_behind_with_is_counted_and_undone_as_any_other(
    tmp_path: Path, calls: str | None
) -> None:
    engine = sql_engine(f"sqlite:///{tmp_path}/a.db", timeout=5, connections=1)
    try:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE t (id INT PRIMARY KEY, v INT)"))
            connection.execute(text("INSERT INTO t VALUES (1, 1), (2, 2)"))
        runner = StatementRunner(engine, calls, create=True, max_rows=1)
        runner.prepare()
        update = "WITH w AS (SELECT :id AS i) UPDATE t SET v = 9 WHERE id IN (SELECT i FROM w)"
        done = runner.run(SqlRequest(update, {"id": 2}), "c-1")
        assert orjson.loads(done.body) == {"changed": 1}
        with pytest.raises(Rejected) as refused:
            runner.run(SqlRequest(update, {"id": 3}), "c-2")
        assert refused.value.status == 404
        several = "WITH w AS (SELECT 1) UPDATE t SET v = 7 RETURNING id"
        with pytest.raises(Rejected, match="more than 1 rows"):
            runner.run(SqlRequest(several, {}), "c-3")
        with engine.connect() as connection:
            assert connection.execute(text("SELECT v FROM t ORDER BY id")).all() == [(1,), (9,)]
    finally:
        engine.dispose()
