"""Addresses of databases: one that cannot be read is refused, and nothing of its password told."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from trunkline.connectors.sql.engine import polling_engine, sql_engine
from trunkline.errors import AddressError

BEHIND_AN_AT = [
    "postgresql://u:SECRET@MARKED@db/shop",
    "mysql://u:SECRET@MARKED@db/shop",
    "oracle+oracledb://u:SECRET@MARKED@db/shop",
    "postgresql://u@SECRET:MARKED@db/shop",
]


@pytest.mark.parametrize("url", BEHIND_AN_AT)
@pytest.mark.parametrize(
    ("connector", "engine"),
    [
        ("SqlPolling", partial(polling_engine, timeout=1)),
        ("SqlSink", partial(sql_engine, timeout=1, connections=1)),
    ],
)
def test_an_at_in_a_password_is_refused_and_not_shown(
    connector: str, engine: Callable[[str], object], url: str
) -> None:
    """What is behind it would be taken for the host, which every error names."""
    with pytest.raises(AddressError, match=f"{connector}: the URL has more than one @") as caught:
        engine(url)
    assert caught.value.__cause__ is None
    assert "MARKED" not in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_an_encoded_one_is_the_passwords_own() -> None:
    engine = polling_engine("postgresql://u:a%40b@db/shop", timeout=1)
    assert (engine.url.password, engine.url.host) == ("a@b", "db")
