"""http."""

from trunkline.connectors.http.sink import (
    DRAINED,
    SHOWN,
    HttpSink,
    T,
)

__all__ = ["DRAINED", "SHOWN", "HttpSink", "T"]
