"""Errors of database drivers, as far as no server is needed to tell them apart."""

from __future__ import annotations

import pytest
from sqlalchemy import exc

from trunkline.connectors.sql.errors import CONFLICT, DOWN, ROW, delivery_error
from trunkline.errors import DataError, DeliveryError, Rejected, Retryable, Unavailable

pymysql = pytest.importorskip("pymysql.err")


def of_mysql(kind: str, *args: object) -> exc.DBAPIError:
    """An error as SQLAlchemy wraps it; older drivers tell no SQLSTATE."""
    original = getattr(pymysql, kind)(*args)
    wrapped = exc.DBAPIError.instance("INSERT", {"secret": 1}, original, pymysql.Error)
    assert isinstance(wrapped, exc.DBAPIError)
    return wrapped


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (of_mysql("OperationalError", 1292, "Incorrect datetime value"), Rejected),
        (of_mysql("OperationalError", 1213, "Deadlock found"), Retryable),
        (of_mysql("OperationalError", 1205, "Lock wait timeout exceeded"), Retryable),
        (of_mysql("OperationalError", 9999, "nobody knows"), Retryable),
        (of_mysql("OperationalError", 1053, "Server shutdown in progress"), Unavailable),
        (of_mysql("OperationalError", 2003, "Can't connect"), Unavailable),
        (of_mysql("OperationalError", 2013, "Lost connection"), Unavailable),
        (of_mysql("InterfaceError", 0, ""), Unavailable),
        (of_mysql("ProgrammingError", "nan can not be used with MySQL"), Rejected),
        (of_mysql("ProgrammingError", 1146, "Table doesn't exist"), Unavailable),
        (of_mysql("InternalError", "Packet sequence number wrong"), Retryable),
    ],
)
def test_an_error_without_a_state_is_told_by_its_number(
    error: Exception, expected: type[DeliveryError]
) -> None:
    assert type(delivery_error(error)) is expected


@pytest.mark.parametrize("error", [ValueError("NUL"), OverflowError("big"), DataError("not Avro")])
def test_what_a_driver_cannot_send_is_the_rows_fault(error: Exception) -> None:
    assert type(delivery_error(error)) is Rejected


def test_a_pool_that_has_no_connection_left_is_a_matter_of_time() -> None:
    assert type(delivery_error(exc.TimeoutError("QueuePool limit"))) is Retryable


def test_no_code_means_two_things() -> None:
    assert not ROW & CONFLICT
    assert not (ROW | CONFLICT) & DOWN


def test_an_error_is_short_and_shows_no_parameters() -> None:
    said = str(delivery_error(of_mysql("OperationalError", 2013, "Lost\n  connection " * 100)))
    assert "secret" not in said
    assert "\n" not in said
    assert len(said) <= 500
