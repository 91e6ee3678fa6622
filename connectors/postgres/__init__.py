"""postgres."""

from trunkline.connectors.postgres.source import (
    PostgresCDC,
)

__all__ = ["PostgresCDC"]
