"""A call that failed is gone when it is done with, and does not wait for the garbage collector."""

from __future__ import annotations

import gc
import weakref

from delivery_parts import event
from trunkline import Unavailable
from trunkline.errors import DataError
from trunkline.streams.admission.gate import Permit
from trunkline.streams.deliver.sink_call import SinkCall


class Free(Permit):
    """A permit that nobody counts."""

    def finish(self, now: float, sent: int, failure: Exception | None) -> None:
        """Nothing follows."""


def failed_call() -> SinkCall:
    """A call whose error's traceback has a frame that has the call."""
    call = SinkCall([event(0)], Free())
    try:
        raise Unavailable("down")
    except Unavailable as error:
        call.failure = error
    call.unreadable.append((event(0), DataError("no Avro")))
    return call


def test_a_failed_call_is_freed_at_once() -> None:
    gc.disable()
    try:
        call = failed_call()
        error = weakref.ref(call.failure)  # type: ignore[arg-type]  # it is there
        call.break_reference_cycle()
        assert error() is None
        assert (call.failure, call.held, call.unreadable) == (None, None, [])
    finally:
        gc.enable()
