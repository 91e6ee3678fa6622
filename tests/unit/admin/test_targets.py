"""Which destination is meant, and what there is instead of one that is not."""

from __future__ import annotations

import pytest

from trunkline.admin.targets import Target, _suggestion
from trunkline.errors import ConfigurationError


def test_a_destination_is_named_with_its_flow() -> None:
    meant = Target.parse("orders.warehouse")
    assert meant == Target("orders", "warehouse")
    assert str(meant) == "orders.warehouse"
    topics = (meant.inbox, meant.dlq, meant.control, meant.audit)
    assert topics == (
        "orders.warehouse.inbox",
        "orders.warehouse.dlq",
        "orders.control",
        "orders.audit",
    )


def test_the_name_of_a_flow_may_have_dots() -> None:
    assert Target.parse("eu.orders.warehouse") == Target("eu.orders", "warehouse")


@pytest.mark.parametrize("text", ["", "orders", "orders.", ".warehouse"])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"write FLOW\.DESTINATION, as orders\.warehouse"):
        Target.parse(text)


def test_what_there_is_is_named() -> None:
    there = ["crm.mail", "orders.erp", "orders.warehouse"]
    assert _suggestion(Target("orders", "x"), there) == "there are: orders.erp, orders.warehouse"
    assert _suggestion(Target("order", "warehouse"), there).startswith(
        "there are: orders.warehouse,"
    )
    assert "no flow has run there" in _suggestion(Target("orders", "x"), [])
    many = [f"orders.d{number:02}" for number in range(12)]
    assert _suggestion(Target("orders", "x"), many).endswith("orders.d09 and 2 more")
