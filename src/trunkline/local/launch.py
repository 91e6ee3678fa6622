"""Become a child process that dies with its parent: ``launch.py PARENT SIGNAL USER COMMAND…``.

Runs as a script of its own, so that nothing of it happens between fork and exec of a process with
threads. On Linux the kernel then sends SIGNAL when the thread that started this process ends,
even by ``kill -9`` (prctl(2), PR_SET_PDEATHSIG; changing the user clears it, so it comes after).
Other systems have no such promise. USER may be empty: stay who we are.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1


def become(user: str) -> None:
    """Take on the user's id and first group, and no other group. There is no way back.

    Raises KeyError if there is no such user, PermissionError unless we are root.
    """
    account = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def die_with(parent: int, signal: int) -> None:
    """Ask the kernel to send us ``signal`` when the thread that started us ends.

    Exits at once with code 1 if the process ``parent`` has ended already; where the kernel cannot
    do this it does nothing. Raises OSError if the kernel refuses.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it ended before we asked
        sys.exit(1)


def main() -> None:
    """Become the command that the arguments name: returns only by raising OSError, if it cannot."""
    parent, signal, user, *command = sys.argv[1:]
    if user:
        become(user)
    die_with(int(parent), int(signal))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
