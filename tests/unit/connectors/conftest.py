"""What several tests of connectors are given."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from polled_api import PolledApi, polled_api


@pytest.fixture
def api() -> Iterator[PolledApi]:
    """An API of a test's own."""
    with polled_api() as running:
        yield running
