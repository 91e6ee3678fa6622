"""How long a worker that stops waits for the calls that are under way."""

from __future__ import annotations

import pytest

from delivery_kit import ErpTest


@pytest.mark.parametrize(("drain", "delivered"), [(10.0, 5.0), (2.0, 8.0)])
def test_a_call_under_way_has_as_long_as_drain_says(drain: float, delivered: float) -> None:
    with ErpTest() as test:
        test.script.takes("5s")
        test.send("a")
        test.advance("1s")
        test._worker.deliveries["erp"].step._drain = drain
        test.restart()
        test.run_until_idle()
        # Given 10 s the call ends, is committed, and never comes again. With 2 s it is cancelled at
        # second 3, and the next worker makes it anew.
        (attempt,) = test.script.attempts
        assert (attempt.id, round(attempt.at, 2)) == ("a/1", delivered)
