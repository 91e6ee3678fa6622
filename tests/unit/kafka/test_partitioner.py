"""The partition of a key is that which every client chooses."""

from __future__ import annotations

import pytest

from trunkline.kafka.partitioner import murmur2, partition_of_key


# Of Kafka's own test of its hash (UtilsTest.testMurmur2), whose numbers are signed.
@pytest.mark.parametrize(
    ("text", "signed"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_the_hash_is_kafkas(text: str, signed: int) -> None:
    assert murmur2(text.encode()) == signed & 0xFFFFFFFF


def test_a_partition_is_one_of_those_there_are() -> None:
    assert {partition_of_key(str(n).encode(), 6) for n in range(100)} == {*range(6)}
