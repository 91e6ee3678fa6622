"""Topics that must have as many partitions as another one, before Kafka is asked for them."""

from __future__ import annotations

import pytest

from trunkline import ConfigurationError
from trunkline.kafka import TopicSpec, matched

TIER = TopicSpec("f.d.retry.10s", 4, config={"retention.ms": "-1"}, like="f.d.inbox")


def test_a_topic_by_itself_is_made_as_it_is_wanted() -> None:
    spec = TopicSpec("commerce.orders", 4)
    assert matched(spec, {}) == spec
    assert matched(spec, {"commerce.orders": 9}) == spec


def test_a_tier_follows_its_inbox_if_that_one_exists() -> None:
    assert matched(TIER, {}).partitions == 4
    assert matched(TIER, {"f.d.inbox": 6}).partitions == 6
    assert matched(TIER, {"f.d.inbox": 6}).config == TIER.config


def test_a_tier_that_is_as_its_inbox_is_fine() -> None:
    assert matched(TIER, {"f.d.inbox": 6, "f.d.retry.10s": 6}).partitions == 6


@pytest.mark.parametrize(
    ("tier", "inbox", "mend"),
    [(4, 6, "--topic f.d.retry.10s --partitions 6"), (9, 6, "--topic f.d.inbox --partitions 9")],
)
def test_another_number_is_told_with_both_names_and_what_to_do(
    tier: int, inbox: int, mend: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        matched(TIER, {"f.d.inbox": inbox, "f.d.retry.10s": tier})
    said = str(caught.value)
    assert f"'f.d.retry.10s' has {tier} partitions, but 'f.d.inbox' has {inbox}" in said
    assert said.endswith(mend)
