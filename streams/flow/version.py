"""The version of a flow: dead letters say under which one they came to be."""

from __future__ import annotations

import hashlib
from pathlib import Path


def of_file(file: str) -> str:
    """Twelve hex digits of the SHA-256 of a flow file's bytes; "" for code that is in no file."""
    path = Path(file)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else ""
