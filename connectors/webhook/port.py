"""A port of this machine belongs to one flow, whose workers share it.

The workers of a flow on one machine listen on one port, and the kernel deals connections out among
them (SO_REUSEPORT). It would do the same for two flows, or for staging beside production: each got
half of the other's calls, and answered 404, or took them. So who listens holds a lock for its flow.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

from trunkline.errors import SourceError

MAX_OWNER = 1_000
"""Bytes of an owner's name that are compared."""


class PortClaim:
    """Holds a port for an owner until ``release``, or until the process ends, however it ends.

    A lock of a file: the first one writes down who it is, others of the same owner join. The file
    is this user's alone, which suffices: the kernel shares a port among one user's processes only.
    """

    def __init__(self, port: int, owner: str) -> None:
        self._port = port
        self._owner = owner.encode(errors="replace")[:MAX_OWNER]
        self._file = -1

    def take(self) -> None:
        """Hold the port. Raises SourceError if it is another one's."""
        self._file = os.open(
            _folder() / f"port-{self._port}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600
        )
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, self._owner, 0)
        except BlockingIOError:
            pass  # somebody holds it: that it is one of ours is seen below
        # Those who hold the port share the lock. Between the two locks another one may have been
        # the first, so what stands in the file is read by all.
        fcntl.flock(self._file, fcntl.LOCK_SH)
        owner = os.pread(self._file, MAX_OWNER, 0)
        if owner != self._owner:
            self.release()
            raise SourceError(
                f"port {self._port} of this machine belongs to {owner.decode(errors='replace')}: "
                "give one of the two another port"
            )

    def release(self) -> None:
        """Hold it no more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _folder() -> Path:
    """Where this user's locks are. Raises SourceError if another user made it."""
    folder = Path(tempfile.gettempdir()) / f"trunkline-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise SourceError(f"{folder} is another user's: remove it, it is for locks of ours")
    return folder
