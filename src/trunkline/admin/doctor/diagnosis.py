"""What an examination finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at. ``area``: ``Kafka``, ``registry``, ``orders.erp``, …; ``what``
    was found, and, if it is not ``ok``, how to ``mend`` it ("" where ``what`` says so already).
    A ``warning`` keeps nothing from running."""

    area: str
    what: str
    verdict: Verdict = "ok"
    mend: str = ""
