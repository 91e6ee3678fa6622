"""An outage of a destination, begun by the demo and watched from outside.

What a worker tells of its circuit breaker is only shown: the proof does not rest on it.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable, Sequence

from trunkline.demo.scene import Api

STATES = (
    "breaker closed: everything that waited is through",
    "breaker half-open: a probe, then more and more events",
    "breaker open: nothing is sent, no attempt is used up",
)
"""How the state of a breaker is shown; the index is the value of ``trunkline_breaker_state``."""
_SECONDS = 10.0


class Outage:
    """An outage of one destination. ``name``: the destination's; ``pages``: the workers' health
    pages; ``show``: shows a line."""

    def __init__(
        self, name: str, api: Api, pages: Sequence[str], show: Callable[[str], None]
    ) -> None:
        self._name = name
        self._api = api
        self._pages = pages
        self._show = show
        self._shown = 0
        self._begun = False

    def begin(self, seconds: float) -> None:
        """The destination answers 503 from now on, for so long."""
        self._api.fail(seconds)
        self._begun = True
        self._show(f"outage: the {self._name} API answers 503 for {seconds:g} s")

    def look(self) -> None:
        """Show the state of the breakers, if it has changed."""
        if not self._begun:
            return
        state = max(breaker_state(page, self._name) for page in self._pages)
        if state != self._shown:
            self._shown = state
            self._show(f"  {self._name}: {STATES[state]}")


def breaker_state(page: str, destination: str) -> int:
    """A worker's ``trunkline_breaker_state`` of a destination. Raises OSError."""
    with urllib.request.urlopen(f"{page}/metrics", timeout=_SECONDS) as answer:
        text = answer.read().decode()
    label = re.escape(f'name="{destination}"')
    found = re.search(rf"^trunkline_breaker_state{{[^}}]*{label}[^}}]*}} (\d)", text, re.MULTILINE)
    return int(found[1]) if found else 0
