"""What a dead letter died of: its *cause*, which thousands of letters may share. No I/O.

Two letters have one cause if their stage, their class of error and its cause agree. An error that
does not tell its cause has that of its message once numbers, ids, times and quoted values are
masked: ``customer 4711 is unknown`` and ``customer 4712 is unknown`` are both ``customer <n> is
unknown``.
"""

from __future__ import annotations

import hashlib


def fingerprint(stage: str, error: str, cause: str) -> str:
    """Eight hex digits that the letters of one cause share, and those of another do not.

    They are the same in every process: people copy them from ``dlq group`` to ``--cause``.
    """
    text = "\n".join((stage, error, cause))
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
