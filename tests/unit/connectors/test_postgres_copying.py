"""Rows in COPY's text format."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trunkline.connectors.postgres.copying import row_of

_WRITTEN = [(b"\\", b"\\\\"), (b"\b", b"\\b"), (b"\f", b"\\f"), (b"\n", b"\\n")]
_WRITTEN += [(b"\r", b"\\r"), (b"\t", b"\\t"), (b"\v", b"\\v")]


def written(value: bytes | None) -> bytes:
    """As the server writes it."""
    if value is None:
        return b"\\N"
    for plain, escaped in _WRITTEN:
        value = value.replace(plain, escaped)
    return value


@given(st.lists(st.none() | st.binary() | st.sampled_from([b"\\N", b"", b"\\"]), min_size=1))
def test_a_row_reads_back(values: list[bytes | None]) -> None:
    assert row_of(b"\t".join(map(written, values)) + b"\n") == values
