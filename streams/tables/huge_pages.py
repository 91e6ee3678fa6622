"""Huge pages for what a process has in memory.

A look-up among a million rows reads three or four places that no other one has read lately. With
pages of 4 KB the processor does not know where any of them is, either, and reads its page tables
first; with pages of 2 MB it does. A quarter of a look-up's time was that.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import sys
from pathlib import Path

log = logging.getLogger(__name__)

HUGE = 2 * 2**20
"""Bytes of a huge page, of x86-64 and of ARM with pages of 4 KB."""
MADV_HUGEPAGE, MADV_COLLAPSE = 14, 25  # of Linux' <asm-generic/mman-common.h>
FULL = 0.5
"""The share of a part that is in use, from which on it is put into huge pages: those of the stacks
of threads, which are nearly empty, would fill memory with nothing."""
_PART = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0 *(?:\[heap\])?\n(?:.*\n)*?Rss: +(\d+) kB",
    re.MULTILINE,
)


def use_huge_pages() -> int:
    """Put what is in memory now into huge pages, and let what is added there come into some.

    Returns of how many bytes. 0 where the system has none to give: not Linux, before Linux 6.1, or
    where an administrator has switched them off. Nothing depends on it but time. It takes a second
    for a gigabyte, during which other threads run. May be called in any thread.
    """
    if sys.platform != "linux":
        return 0
    try:
        parts = _PART.findall(Path("/proc/self/smaps").read_text(errors="replace"))
    except OSError as error:
        log.debug("no huge pages: %s", error)
        return 0
    moved = sum(_move(int(begin, 16), int(end, 16), int(rss) * 1024) for begin, end, rss in parts)
    log.debug("%d MB are in huge pages", moved // 2**20)
    return moved


def _move(begin: int, end: int, used: int) -> int:
    begin, end, size = -(-begin // HUGE) * HUGE, end // HUGE * HUGE, end - begin
    if begin >= end or used < FULL * size:
        return 0
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for advice in (MADV_HUGEPAGE, MADV_COLLAPSE):
        if madvise(begin, end - begin, advice):
            log.debug("no huge pages at %x: %s", begin, os.strerror(ctypes.get_errno()))
            return 0
    return end - begin
