"""How a value is refused: where it stands, and why."""

from __future__ import annotations

from typing import Any


class Unfit(ValueError):
    """A value would come back changed, or not at all. ``reason`` does not show the value: it may
    be confidential, and errors go to logs and headers. ``close``: its Python type would do."""

    def __init__(self, reason: str, *, close: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.close = close
        self.path = ""

    def inside(self, place: str) -> Unfit:
        """The same, one level further out: ``.field`` or ``[3]`` leads to it."""
        self.path = place + self.path
        return self

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


def wants(wanted: str, value: Any, found: str | None = None) -> Unfit:
    """A value that does not fit its type; ``found`` says what is wrong with one of the right
    Python type."""
    return Unfit(f"wants {wanted}, not {found or type_name(value)}", close=found is not None)


def type_name(value: Any) -> str:
    """The type of a value for a message."""
    return "nothing" if value is None else type(value).__name__
