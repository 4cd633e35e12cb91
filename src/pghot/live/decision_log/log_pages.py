"""The page numbers of a live log: a section of a program or a file keeps its place in the log for good.

The live side gives a section's dense pages to another program when the first one ends. A log outlives that.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pghot.arrays import U32, Bool
from pghot.decision_log.left_out import MOST_SECTIONS
from pghot.kernel.shortage import ShortageError
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.sections import PAGE_SHIFT, SECTION_PAGES, SECTION_SHIFT
from pghot.live.machine.spaces import Spaces
from pghot.live.slices import comm
from pghot.recording.trace import Process, Region

_NONE, _FULL = -1, -2


class LogPages:
    """Which page of the log each dense page is.

    unlogged  pages that were told of and have no place, as the log is full; one may be counted often
    """

    def __init__(self, root: SysRoot, spaces: Spaces) -> None:
        self._root, self._spaces = root, spaces
        self._place = np.full(spaces.table.sections, _NONE, np.int64)  # in the log, of each section in use
        self._place_of: dict[tuple[int, int], int] = {}
        self._process_of: dict[int, int] = {}
        self.processes: list[Process] = []
        self.regions: list[Region] = []
        self.unlogged = 0

    @property
    def sections(self) -> int:
        """How many have a place."""
        return len(self.regions)

    def of(self, page: U32) -> tuple[U32, Bool | slice]:
        """uint32[J]: the pages in the log of those dense pages (uint32[K]) that have one, and which these are."""
        section = page >> np.uint32(SECTION_SHIFT)
        place = self._place[section]
        if (new := place == _NONE).any():
            for each in np.unique(section[new]).tolist():
                self._place[each] = self._new_place(each)
            place = self._place[section]
        own = (place << SECTION_SHIFT | page & np.uint32(SECTION_PAGES - 1)).astype(np.uint32)
        kept = place >= 0
        if kept.all():
            return own, slice(None)
        self.unlogged += len(page) - int(np.count_nonzero(kept))
        return own[kept], kept

    def forget(self, gone: Iterable[slice]) -> None:
        """These dense pages (whole sections) will be of somebody else."""
        for pages in gone:
            self._place[pages.start >> SECTION_SHIFT : -(-pages.stop >> SECTION_SHIFT)] = _NONE

    def _new_place(self, slot: int) -> int:
        number, address = self._spaces.table.where(np.array([slot << SECTION_SHIFT], np.uint32))
        home, start = int(number[0]), int(address[0])
        section = start >> (SECTION_SHIFT + PAGE_SHIFT)
        if (home, section) in self._place_of:
            return self._place_of[home, section]
        if self.sections == MOST_SECTIONS:
            return _FULL
        place = self._place_of[home, section] = self.sections
        file = self._spaces.objects.file(home)
        name = file.name if file else "[anon]"
        self.regions.append(Region(place << SECTION_SHIFT, SECTION_PAGES, self._process(home), start, name))
        return place

    def _process(self, home: int) -> int:
        if home not in self._process_of:
            self._process_of[home] = len(self.processes)
            self.processes.append(self._named(home))
        return self._process_of[home]

    def _named(self, home: int) -> Process:
        space, file = self._spaces.space(home), self._spaces.objects.file(home)
        if space is None:
            return Process(0, file.name if file else "")
        try:
            return Process(space.pid, comm(self._root, space.pid))
        except ShortageError:
            return Process(space.pid, "")
