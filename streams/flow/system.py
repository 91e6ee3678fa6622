"""A system that several destinations write to, in one flow or in many, and what it is spared.

Limits of a system hold over all workers of all flows that name it; the room ``streams/quota`` does
that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from trunkline.errors import ConfigurationError
from trunkline.times import parse_rate

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class System:
    """A system with limits of its own, shared by every destination of every flow that names it.

    ``System("erp", rate="50/s", concurrent=10)``: at most 50 events a second and 10 calls at a
    time, over all workers. ``name`` is what tells systems apart: where the same name stands with
    different numbers, the smallest ones hold. Raises ConfigurationError for what cannot be.
    """

    name: str
    rate: str | None = None
    concurrent: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"System({self.name!r}): a name is letters, digits, '.', '_' and '-', as 'erp'"
            )
        if self.rate is None and self.concurrent is None:
            raise ConfigurationError(
                f"System({self.name!r}) sets no limit: give rate= or concurrent="
            )
        if self.rate is not None:
            parse_rate(self.rate)
        if self.concurrent is not None and not is_count(self.concurrent):
            raise ConfigurationError(
                f"System({self.name!r}, concurrent={self.concurrent!r}): a whole number from 1 on"
            )

    @property
    def per_second(self) -> float | None:
        """The rate in events per second, or None."""
        return None if self.rate is None else parse_rate(self.rate)


def is_count(value: object) -> bool:
    """Whether it is a whole number of at least one."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def conflicting_limits(systems: Iterable[tuple[str, System]]) -> list[str]:
    """Where one system stands with different numbers: a sentence for each, naming both places.

    ``systems``: who names it (``flow.destination``), and how. The smallest numbers hold.
    """
    first: dict[str, tuple[str, System]] = {}
    found = []
    for where, system in systems:
        place, known = first.setdefault(system.name, (where, system))
        if (known.per_second, known.concurrent) != (system.per_second, system.concurrent):
            found.append(
                f"system {system.name!r} has different limits: {_limits(known)} in {place}, "
                f"{_limits(system)} in {where}; the smallest hold, so write the same in both"
            )
    return found


def _limits(system: System) -> str:
    given = {"rate": system.rate, "concurrent": system.concurrent}
    return ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None)
