"""Where the tracked pages are, as the kernel says, and which of them move together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pghot.arrays import I32, I64, NOWHERE, U8, U32, U64, Bool
from pghot.kernel.maps import MappingKind
from pghot.kernel.move_pages import query_nodes
from pghot.kernel.pagemap import PRESENT, SWAPPED, held_pages, read_entries
from pghot.kernel.shortage import ShortageError
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import Space
from pghot.live.machine.pages import PROMOTED
from pghot.live.machine.sections import SECTION_PAGES
from pghot.live.machine.spaces import Spaces
from pghot.live.swap_tier.tier import CompressedTier
from pghot.policies.live_rules import OLDEST

HUGE_PAGES = 512  # 2 MiB in 4 KiB pages: the largest folio that anonymous memory has


@dataclass(frozen=True, slots=True)
class Reached:
    """Pages of one space or file, and how the kernel is asked about them.

    home      its number
    space     the program through which they are asked about and moved
    page      uint32[K]  dense
    address   uint64[K]  in `space`, bytes
    everyone  they move even if several programs map them
    """

    home: int
    space: Space
    page: U32
    address: U64
    everyone: bool

    def only(self, held: Bool) -> Reached:
        """Those of the pages for which `held` (bool[K])."""
        return replace(self, page=self.page[held], address=self.address[held])


class Placement:
    """Asks for the nodes of pages and keeps them in `Pages.place`.

    tier     where swapped pages are, None: nowhere
    faulted  pages that came back from there by the programs' own touch
    """

    def __init__(self, root: SysRoot, spaces: Spaces, tier: CompressedTier | None = None) -> None:
        self._root, self._spaces, self._tier = root, spaces, tier
        self._state = spaces.pages
        self.faulted = 0

    def locate(self, page: U32) -> None:
        """Ask the kernel for the node of each page (uint32[K], some more than once) and remember it."""
        for part in self.by_space(distinct(page)):
            try:
                status = self._query(part.space, part.address)
            except (OSError, ShortageError):
                continue  # it ended, and the next refresh notices; or it is asked another time
            self._remember(part.page, np.where(status >= 0, status, NOWHERE).astype(np.uint8))

    def _query(self, space: Space, address: U64) -> I32:
        status = query_nodes(space.pid, address)
        return status if self._tier is None else self._tier.places(space.pid, address, status)

    def _remember(self, page: U32, place: U8) -> None:
        """What the kernel says now. A page that left the compressed tier without us was touched by its program."""
        if self._tier is not None:
            came = page[(self._state.place[page] == self._tier.node) & (place < self._tier.node)]
            self.faulted += len(came)
            self._state.marks[came] |= PROMOTED
            self._state.set_age(came, 0)
        self._state.put(page, place)

    def survey(self, space: Space) -> Iterator[U32]:
        """Find all movable pages of a space that are present, a section's worth at a time."""
        for page, _ in self.look(space):
            yield page

    def look(self, space: Space) -> Iterator[tuple[U32, U8]]:
        """As `survey`, with the node where each page was before, as last heard (uint8[K])."""
        try:
            for address in held_pages(self._root, space.pid, space.start, space.end, SECTION_PAGES):
                yield self._present(space, address)
        except OSError:
            return  # it ended; the next refresh notices

    def _present(self, space: Space, address: U64) -> tuple[U32, U8]:
        status = self._query(space, address)
        present = status >= 0
        page, movable = self._spaces.lookup(np.full(present.sum(), space.pid, np.int32), address[present])
        page = page[movable]
        before = self._state.place[page]
        self._state.set_age(page[before == NOWHERE], self._first_age)
        self._state.put(page, status[present][movable].astype(np.uint8))
        return page, before

    @property
    def _first_age(self) -> int:
        """Age of a page found for the first time. A page must be watched for a while before being unseen means cold."""
        return OLDEST if self._tier is None else 0

    def rescan(self, space: Space, tier_node: int) -> None:
        """Find out what is new, went to swap (`tier_node`) or came back. Reads pagemap, which is cheaper than a
        survey."""
        try:
            for address, entries in read_entries(self._root, space.pid, space.start, space.end):
                self._take_entries(space, address, entries, tier_node)
        except OSError:
            return  # it ended; the next refresh notices

    def _take_entries(self, space: Space, address: U64, entries: U64, tier_node: int) -> None:
        held = np.flatnonzero(entries & np.uint64(PRESENT | SWAPPED))
        page, movable = self._spaces.lookup(np.full(len(held), space.pid, np.int32), address[held])
        page, out = page[movable], entries[held[movable]] & np.uint64(PRESENT) == 0
        fresh = self._state.place[page] == NOWHERE
        self._state.set_age(page[fresh], self._first_age)
        self._state.put(page[out], tier_node)
        came = page[~out]
        self.locate(came[self._state.place[came] >= tier_node])

    def by_space(self, page: U32) -> Iterator[Reached]:
        """The pages of each tracked space or file with their addresses, ascending within a section. Pages that no
        program can be asked about are left out."""
        if len(page) == 0:
            return
        if not (page[1:] >= page[:-1]).all():
            page = np.sort(page)
        home, address = self._spaces.table.where(page)
        if home[0] == home.max() == home.min():
            yield from self._of_one(int(home[0]), page, address)
            return
        for number in np.unique(home).tolist():
            held = home == number
            yield from self._of_one(number, page[held], address[held])

    def _of_one(self, number: int, page: U32, address: U64) -> Iterator[Reached]:
        """Pages of a space, or of a file by the program through which they can be reached."""
        if (space := self._spaces.space(number)) is not None:
            yield Reached(number, space, page, address, False)
            return
        objects = self._spaces.objects
        through, address = objects.reach(page, number, address)
        for each in np.unique(through).tolist():
            if (space := self._spaces.space(each)) is not None:
                mine = through == each
                yield Reached(number, space, page[mine], address[mine], objects.everyone(number))

    def sections(self, pooled: bool) -> I64:
        """See `Spaces.pooled_sections`."""
        return self._spaces.pooled_sections(pooled)

    def aged(self, section: int, node: int) -> tuple[U32, U8]:
        """The movable pages of a section on `node`, and their `ages`."""
        page = self._state.held_on(section, node)
        self._state.sharpen(section, node, int(self._state.ages(page).max(initial=0)))
        return page, self.ages(page)

    # ---- large folios: where a process has them, whole 2 MiB blocks may move along

    def at_most(self, page: U32) -> int:
        """No more pages than this move when these do; cheaper than `with_folios`, and for any order."""
        return HUGE_PAGES * len(blocks_of(page))

    def with_folios(self, page: U32) -> int:
        """How many pages may move when these do."""
        total = 0
        for part in self.by_space(page):
            huge = self._spaces.has_huge_pages(part.home)
            total += HUGE_PAGES * len(blocks_of(part.page)) if huge else len(part.page)
        return total

    def first_within(self, page: U32, most: int) -> int:
        """How many of the first pages can move so that, with whole folios, no more than `most` move; at least one."""
        if self.at_most(page) <= most:
            return len(page)
        huge = self._huge_spaces()
        if not huge:
            return max(1, min(len(page), most))
        cost = np.ones(len(page), np.int64)
        whole = np.flatnonzero(np.isin(self._spaces.table.where(page)[0], huge))
        _, first = np.unique(page[whole] // np.uint32(HUGE_PAGES), return_index=True)
        cost[whole] = 0
        cost[whole[first]] = HUGE_PAGES
        return max(1, int(np.searchsorted(np.cumsum(cost), most, side="right")))

    def folios_around(self, home: int, pages: U32) -> U32:
        """The pages that may move when these pages of one space or file do, located."""
        whole = len(pages) == self.at_most(pages)
        if whole or not self._spaces.has_huge_pages(home):
            return pages
        around = self.block_pages(pages)
        if len(around) > len(pages):
            self.locate(around)
        return around

    def block_pages(self, pages: U32) -> U32:
        """All movable pages of the 2 MiB blocks of these pages, which are ascending."""
        first = blocks_of(pages) * np.uint32(HUGE_PAGES)
        around = (first[:, None] + np.arange(HUGE_PAGES, dtype=np.uint32)).ravel()
        movable: U32 = around[self._state.kind[around] == MappingKind.MOVABLE]
        return movable

    def folded(self, pages: U32) -> U32:
        """The same, but of hugetlb pages the first page of each: it has the heat of what moves whole."""
        pooled = self._spaces.pooled(pages)
        if not pooled.any():
            return pages
        return np.where(pooled, pages // np.uint32(HUGE_PAGES) * np.uint32(HUGE_PAGES), pages)

    def heads(self, pages: U32) -> U32:
        """The first pages of the 2 MiB blocks of these pages, those that are movable: ascending, each once."""
        first = distinct(pages // np.uint32(HUGE_PAGES)) * np.uint32(HUGE_PAGES)
        movable: U32 = first[self._state.kind[first] == MappingKind.MOVABLE]
        return movable

    def ages(self, page: U32) -> U8:
        """Ageing periods since each page was seen; with large folios, since any of its block was.

        Neighbours that moved along with a promoted page are old, and would otherwise get it demoted again.
        """
        ages = self._state.ages(page)
        huge = self._huge_spaces()
        if not huge or len(page) == 0:
            return ages
        starts = np.flatnonzero(np.diff((page // np.uint32(HUGE_PAGES)).astype(np.int64), prepend=-1))
        youngest = np.repeat(np.minimum.reduceat(ages, starts), np.diff(np.append(starts, len(page))))
        return np.where(np.isin(self._spaces.table.where(page)[0], huge), youngest, ages)

    def _huge_spaces(self) -> list[int]:
        """Numbers of the spaces and files with large folios."""
        return [number for number in self._spaces.numbers() if self._spaces.has_huge_pages(number)]


def distinct(page: U32) -> U32:
    """The pages, ascending, each once. Sorting takes a fifth of what `np.unique` does, which hashes.

    >>> distinct(np.array([7, 3, 7], np.uint32)).tolist()
    [3, 7]
    """
    page = np.sort(page)
    first = np.ones(len(page), np.bool_)
    np.not_equal(page[1:], page[:-1], out=first[1:])
    return page[first]


def blocks_of(page: U32) -> U32:
    """The numbers of the 2 MiB blocks that ascending pages lie in, each once (pages in another order: once or more).

    >>> blocks_of(np.array([3, 4, 600], np.uint32)).tolist()
    [0, 1]
    """
    block = page // np.uint32(HUGE_PAGES)
    first = np.ones(len(block), np.bool_)
    np.not_equal(block[1:], block[:-1], out=first[1:])
    return block[first]


def whole_blocks(page: U32, around: U32, room: int) -> tuple[int, int]:
    """How many of the first pages can move so that the 2 MiB blocks that may go along fit into `room`, and how many
    pages these blocks have.

    page    uint32[K]  ascending
    around  uint32[M]  ascending; all movable pages of their blocks

    >>> block = np.arange(512, dtype=np.uint32)
    >>> whole_blocks(np.array([3, 4, 600], np.uint32), np.concatenate([block, block[:100] + 512]), 600)
    (2, 512)
    """
    size = np.uint32(HUGE_PAGES)
    blocks, sizes = np.unique(around // size, return_counts=True)
    own, first = np.unique(page // size, return_index=True)
    along = np.cumsum(sizes[np.searchsorted(blocks, own)])
    fitting = int(np.searchsorted(along, room, side="right"))
    if fitting == 0:
        return 0, 0
    return len(page) if fitting == len(own) else int(first[fitting]), int(along[fitting - 1])


def joined(parts: list[U32]) -> U32:
    """The parts in a row."""
    return np.concatenate(parts) if parts else np.empty(0, np.uint32)
