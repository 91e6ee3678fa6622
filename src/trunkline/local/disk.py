"""What a full disk looks like, and how we say so."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trunkline.errors import TrunklineError

FULL_BYTES = 16 * 1024 * 1024


class DiskFull(TrunklineError):
    """There is no space left; the message says where, and what to do."""


@contextmanager
def full_disk_explained(place: Path, advice: str) -> Iterator[None]:
    """Turn the operating system's "no space left" into DiskFull."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(f"the disk is full: {place} cannot be written. {advice}") from error


def hint(place: Path) -> str:
    """A sentence for the message of a server that failed for want of space, else ""."""
    if shutil.disk_usage(place).free > FULL_BYTES:
        return ""
    return f" The disk of {place} is full: free some space, then start again."
