"""A stop waits for no server: what asks one runs in a thread that can be left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOK = 0.1
"""Seconds from one look at ``stop`` to the next while a server is waited for."""
LET_GO = 0.2
"""Seconds that a call has to end once it is cut off."""


class Stopped(Exception):
    """The source is to stop: connectors raise it for themselves, it never reaches the engine."""


class Calls:
    """Runs one blocking call at a time, for as long as ``stop`` is not set. For one thread.

    A call that hangs, as to a host that swallows packets, holds up no stop: its thread is a daemon,
    which the call's own time limit ends. ``cut``: ends what the call waits for sooner, if it can.
    """

    def __init__(self, name: str, cut: Callable[[], None] = lambda: None) -> None:
        self._name = name
        self._cut = cut

    def run(self, call: Callable[[], T], stop: threading.Event) -> T:
        """What ``call`` returns or raises; Stopped as soon as ``stop`` is set."""
        results: list[T] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                results.append(call())
            except BaseException as error:  # noqa: BLE001 - handed on to who waits
                errors.append(error)

        thread = threading.Thread(target=work, name=self._name, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(LOOK)
            if stop.is_set() and thread.is_alive():
                self._cut()
                thread.join(LET_GO)
                raise Stopped
        if stop.is_set():
            raise Stopped
        if errors:
            raise errors[0]
        return results[0]
