"""sql."""

from trunkline.connectors.sql.sink import (
    SqlSink,
    T,
)

__all__ = ["SqlSink", "T"]
