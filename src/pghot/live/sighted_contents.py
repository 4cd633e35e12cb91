"""`pghot record --compressibility` with live sources: samples of what the sighted pages hold, by `/proc/PID/mem`.

Only sizes and flags reach the recording. A page that is swapped out comes back in when it is sampled.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pghot.arrays import U32, U64
from pghot.kernel.process import alive
from pghot.kernel.process_memory import read_pages
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.sections import PAGE_SHIFT, SECTION_PAGES, SECTION_SHIFT
from pghot.live.machine.spaces import Spaces
from pghot.recording.page_contents import measure
from pghot.recording.sampler import PageSampler
from pghot.recording.writer import RecordingWriter

# (space, section number) of each section of the recording: `SliceRecorder` numbers them.
Slots = Mapping[tuple[int, int], int]


class SightedContents:
    """Rounds of samples into the recording, of the pages that a source has sighted so far."""

    def __init__(self, root: SysRoot, spaces: Spaces, writer: RecordingWriter) -> None:
        self._root, self._spaces, self._writer = root, spaces, writer
        self._sampler = PageSampler()
        self._seen = np.zeros(0, np.bool_)

    def saw(self, page: U32) -> None:
        """Pages of the recording, uint32[K], that a source just saw."""
        sections = (int(page.max(initial=0)) >> SECTION_SHIFT) + 1
        if sections * SECTION_PAGES > len(self._seen):
            room = np.zeros(sections * SECTION_PAGES - len(self._seen), np.bool_)
            self._seen = np.concatenate([self._seen, room])
        self._seen[page] = True

    def take_when_due(self, time_ns: int, elapsed_s: float, slots: Slots) -> None:
        """Take a round of samples when it is due. Raises `NotPermittedError` for memory that may not be read."""
        if self._sampler.due(elapsed_s):
            self._take(time_ns, slots)

    def _take(self, time_ns: int, slots: Slots) -> None:
        """Every page of a running program is equally likely to be read."""
        keys = [key for key in slots if self._spaces.space(key[0]) is not None]
        pages = [self._sighted(slots[key]) for key in keys]
        page = np.concatenate([np.empty(0, np.uint32), *pages])
        counts = [len(part) for part in pages]
        space = np.repeat(np.array([key[0] for key in keys], np.int64), counts)
        section = np.repeat(np.array([key[1] for key in keys], np.uint64), counts)
        vpn = section << np.uint64(SECTION_SHIFT) | page & np.uint32(SECTION_PAGES - 1)
        drawn = self._sampler.draw(len(page))
        for number in np.unique(space[drawn]).tolist():
            mine = drawn[space[drawn] == number]
            self._read(number, time_ns, page[mine], vpn[mine] << np.uint64(PAGE_SHIFT))

    def _sighted(self, slot: int) -> U32:
        begin = slot << SECTION_SHIFT
        return (begin + np.flatnonzero(self._seen[begin : begin + SECTION_PAGES])).astype(np.uint32)

    def _read(self, number: int, time_ns: int, page: U32, address: U64) -> None:
        space = self._spaces.space(number)
        if space is None:
            return
        places, contents = read_pages(self._root, space.pid, address)
        if alive(self._root, space.identity):  # else it may have been somebody else's memory
            self._writer.add_samples(measure(page[places], time_ns, contents))
