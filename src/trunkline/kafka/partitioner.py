"""Which partition a key has, as the producers of every client choose it."""

from __future__ import annotations

_M = 0x5BD1E995
_SEED = 0x9747B28C
_32 = 0xFFFFFFFF


def partition_of_key(key: bytes, partitions: int) -> int:
    """The partition that our producers, and Java's default, give a record of this key: so that a
    record of another key can be put beside it."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """MurmurHash2 with 32 bits (Austin Appleby, public domain), with Kafka's seed, unsigned."""
    length = len(data)
    hashed = (_SEED ^ length) & _32
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _32
        k = (k ^ (k >> 24)) * _M & _32
        hashed = (hashed * _M & _32) ^ k
    if rest := data[whole:]:
        hashed = (hashed ^ int.from_bytes(rest, "little")) * _M & _32
    hashed = (hashed ^ (hashed >> 13)) * _M & _32
    return hashed ^ (hashed >> 15)
