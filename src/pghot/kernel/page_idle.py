"""The idle page bitmap (Documentation/admin-guide/mm/idle_page_tracking.rst): one bit for each page frame, in 64-bit
words. Writing a 1 marks the page idle; the kernel clears the bit when the page is accessed.

The bit of a large folio is that of its first page; those of its other pages, and of pages on no LRU list, always
read 0 (page_idle_get_folio, mm/page_idle.c). `/proc/kpageflags` tells them.
"""

from __future__ import annotations

import os
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pghot.arrays import U64
from pghot.kernel.kpageflags import KPF_LRU, folio_heads
from pghot.kernel.needs import Need, knob_need
from pghot.kernel.sysroot import SysRoot

BITMAP = "/sys/kernel/mm/page_idle/bitmap"
_CHUNK_WORDS = 1 << 16


def idle_need(root: SysRoot) -> Need:
    """Whether the bitmap is there and ours to write."""
    what = f"idle page bitmap: {BITMAP}"
    return knob_need(root, what, BITMAP, "a kernel with CONFIG_IDLE_PAGE_TRACKING=y")


def words_of_frames(frame: U64) -> tuple[U64, U64]:
    """The distinct words that hold these frames' bits (ascending) and for each the bits set, both uint64[W].

    >>> [part.tolist() for part in words_of_frames(np.array([0, 1, 64], np.uint64))]
    [[0, 1], [3, 1]]
    """
    word = frame >> np.uint64(6)
    bit = np.uint64(1) << (frame & np.uint64(63))
    distinct, where = np.unique(word, return_inverse=True)
    bits = np.zeros(len(distinct), np.uint64)
    np.bitwise_or.at(bits, where, bit)
    return distinct, bits


def mark_idle(root: SysRoot, frame: U64) -> None:
    """Mark these page frames (uint64[K]) idle. Raises `OSError`."""
    word, bits = words_of_frames(frame)
    fd = root.open(BITMAP, os.O_WRONLY)
    try:
        for first, last in _runs(word):
            os.pwrite(fd, bits[first:last].tobytes(), int(word[first]) * 8)
    finally:
        os.close(fd)


def still_idle(root: SysRoot, frame: U64) -> npt.NDArray[np.bool_]:
    """bool[K]: which of these page frames were not accessed since they were marked. Raises `OSError`."""
    word, _ = words_of_frames(frame)
    value = np.zeros(len(word), np.uint64)
    fd = root.open(BITMAP, os.O_RDONLY)
    try:
        for first, last in _runs(word):
            data = os.pread(fd, 8 * (last - first), int(word[first]) * 8)
            got = np.frombuffer(data, np.uint64, len(data) // 8)
            value[first : first + len(got)] = got
    finally:
        os.close(fd)
    held = value[np.searchsorted(word, frame >> np.uint64(6))]
    return (held >> (frame & np.uint64(63)) & np.uint64(1)).astype(np.bool_)


def tracked_frames(root: SysRoot, frame: U64) -> tuple[U64, npt.NDArray[np.bool_]]:
    """For each page frame (uint64[K]) the one whose bit stands for it, and whether the bitmap tracks that one.

    Raises `OSError`.
    """
    head, flags = folio_heads(root, frame)
    return head, (flags & np.uint64(KPF_LRU)) != 0


def _runs(word: U64) -> list[tuple[int, int]]:
    """Index ranges of neighbouring words, of at most `_CHUNK_WORDS`."""
    if len(word) == 0:
        return []
    breaks = (np.flatnonzero(np.diff(word) != 1) + 1).tolist()
    edges = [0, *breaks, len(word)]
    return [
        (begin, min(begin + _CHUNK_WORDS, last))
        for first, last in pairwise(edges)
        for begin in range(first, last, _CHUNK_WORDS)
    ]
