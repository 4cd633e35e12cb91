"""Moving pages with move_pages(2): in batches, within the room of the target, after each origin is in the journal."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from pghot.arrays import I32, I64, NOWHERE, U8, U32, U64
from pghot.kernel.maps import MappingKind
from pghot.kernel.move_pages import move_pages, query_nodes
from pghot.kernel.pagemap import OpenPagemap
from pghot.kernel.process import alive
from pghot.kernel.shortage import ShortageError
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import MappedFile, Space
from pghot.live.machine.eligibility import tally
from pghot.live.machine.forked import sharers
from pghot.live.machine.pages import ORIGIN_WRITTEN, REFUSAL_SHIFT
from pghot.live.machine.placement import Placement, Reached, joined, whole_blocks
from pghot.live.machine.pools import Pools
from pghot.live.machine.room import Room
from pghot.live.machine.spaces import Spaces
from pghot.live.swap_tier.tier import CompressedTier
from pghot.policies.machine import Moves

_NO_ROOM = np.iinfo(np.int32).min  # a status: not tried, because the target had no room
_TRANSIENT = (errno.EBUSY, errno.EAGAIN, errno.ENOMEM)


class Origins(Protocol):
    """Remembers where pages were, before they move: the journal."""

    def origins(self, home: Space | MappedFile, address: U64, node: U8, shared: bool = False) -> None:
        """Pages of a space or file (uint64[K] bytes, ascending) and the node of each (uint8[K]). `shared`: they go back
        whoever maps them."""


@dataclass(slots=True)
class MoveCounts:
    """Totals of pages; `status` counts the errno of each page that did not move.

    compressed, fetched  of the demoted and promoted, those to and from the compressed tier
    locked               refused by the compressed tier because their mapping is locked
    """

    promoted: int = 0
    demoted: int = 0
    failed: int = 0
    returned: int = 0
    compressed: int = 0
    fetched: int = 0
    locked: int = 0
    status: dict[str, int] = field(default_factory=dict)

    def note(self, status: I32) -> None:
        self.failed += int(np.count_nonzero(status < 0))
        for number in np.unique(status[status < 0]).tolist():
            name = errno.errorcode.get(-number, str(-number))
            self.status[name] = self.status.get(name, 0) + int(np.count_nonzero(status == number))


class MoveWatcher(Protocol):
    """Hears what becomes of pages: the log of decisions."""

    def moved(self, page: U32, source: U8, target: int, by: str) -> None:
        """Pages (uint32[K]) came from nodes (uint8[K], `NOWHERE`: not known) to another. by: who moved them."""

    def failed(self, page: U32, error: I32) -> None:
        """move_pages did not move these pages. error: int32[K], an errno each."""


class Mover:
    """Moves pages of tracked spaces. `rank` (int64[nodes]) is the tier of each node, 0 = top."""

    def __init__(
        self,
        root: SysRoot,
        spaces: Spaces,
        placement: Placement,
        room: Room,
        pools: Pools,
        *,
        rank: I64,
        batch_pages: int,
        journal: Origins | None,
        tier: CompressedTier | None = None,
    ) -> None:
        self._root, self._rank, self._spaces, self._journal = root, rank, spaces, journal
        self._tier = tier
        self._placement, self._batch_pages = placement, batch_pages
        self._room, self._pools = room, pools
        self._state = spaces.pages
        self.counts = MoveCounts()
        self.watcher: MoveWatcher | None = None

    def move(self, page: U32, target: int) -> Moves:
        """Move as many of the pages as fit, the first ones first, in batches of one space.

        `failed` are pages that were busy or found no room; of hugetlb pages the first of each.
        """
        self._spaces.notice_folios()
        pooled = self._spaces.pooled(page)
        if not pooled.any():
            return self._move_into(self._room, page, target)
        own = self._move_into(self._room, page[~pooled], target)
        other = self._move_into(self._pools, self._placement.heads(page[pooled]), target)
        return Moves(joined([own.moved, other.moved]), joined([own.failed, other.failed]))

    def _move_into(self, room: Room | Pools, page: U32, target: int) -> Moves:
        """Pages that all take the same `room`."""
        fit = room.on(target)
        parts = [Moves(page[:0], page[fit:])]
        for part in self._placement.by_space(page[:fit]):
            try:
                with OpenPagemap(self._root, part.space.pid) as pagemap:
                    if alive(self._root, part.space.identity):
                        parts.append(self._move_part(part, pagemap, target, room))
            except PermissionError:
                self._note_failed(part.page, np.full(len(part.page), -errno.EPERM, np.int32))
            except ShortageError:
                parts.append(Moves(page[:0], part.page))  # another time
            except OSError:
                continue  # it ended; the next refresh notices
        moved = joined([part.moved for part in parts])
        if len(moved):
            room.filled(target)
        if room is self._pools:
            self._pools.refuse(target, len(page[fit:]))
        return Moves(moved, joined([part.failed for part in parts]))

    def _move_part(self, part: Reached, pagemap: OpenPagemap, target: int, room: Room | Pools) -> Moves:
        """Pages that are reached through one program, in batches, as long as its memory is there."""
        pages = part.page
        around = self._placement.folios_around(part.home, pages)
        self.write_origins(around)
        before = self._state.place[around]
        whole_folios = len(around) > len(pages)
        blocks = around if whole_folios else None
        status = self._in_batches(part, pagemap, target, room, blocks)
        if room is self._pools:
            self._pools.refuse(target, int(np.count_nonzero(status == _NO_ROOM)))
        if (shared := status == -errno.EACCES).any() and self._spaces.space(part.home) is not None:
            status[shared] = self._move_forked(part.only(shared), pagemap, target)
        there, failed = pages, pages[:0]
        if not (status == target).all():
            if self._tier is None or target != self._tier.node:
                _ask_again(part.space.pid, part.address, status)
            there, failed = pages[status == target], self._sort_out(pages, status, target)
        self._state.set_age(there, 0)
        self._state.put(there, target)
        if whole_folios:
            self._placement.locate(around)
        self.count(around, before, target)
        if self._spaces.notice_folios() and not whole_folios:
            self._came_along(pages, target)
        return Moves(there, failed)

    def _move_forked(self, part: Reached, pagemap: OpenPagemap, target: int) -> I32:
        """Status of pages of a space that others map, too: they move where all of these are tracked."""
        status = np.full(len(part.page), -errno.EACCES, np.int32)
        relatives = [each for each in self._spaces.spaces if each.number != part.space.number]
        ours, having = sharers(self._root, part.space, part.address, relatives)
        if not ours.any():
            return status
        copies = [self._copies_in(number, part.address[held & ours]) for number, held in having.items()]
        self.write_origins(joined([part.page[ours], *copies]), shared=True)
        status[ours] = self._in_batches(
            replace(part.only(ours), everyone=True), pagemap, target, self._room, None
        )
        for page in copies:
            self._placement.locate(page)
        return status

    def _copies_in(self, number: int, address: U64) -> U32:
        """The dense pages of another space at these addresses, located."""
        space = self._spaces.space(number)
        assert space is not None
        page, movable = self._spaces.lookup(np.full(len(address), space.pid, np.int32), address)
        self._placement.locate(page[movable])
        return page[movable]

    def _in_batches(
        self, part: Reached, pagemap: OpenPagemap, target: int, room: Room | Pools, blocks: U32 | None
    ) -> I32:
        """Status of each page: its node, a negative errno, or `_NO_ROOM`.

        blocks  all movable pages of the 2 MiB blocks that go along; None when pages move singly
        """
        pages = part.page
        status = np.full(len(pages), _NO_ROOM, np.int32)
        node = np.full(min(len(pages), self._batch_pages), target, np.int32)
        free = batches = 0
        for begin in range(0, len(pages), self._batch_pages):
            if batches == 0:
                try:
                    free, batches = room.look(target)
                except ShortageError:
                    break  # how much is free cannot be told: another time
            batches -= 1
            wanted = pages[begin : begin + self._batch_pages]
            fitting = cost = min(free, len(wanted))
            if blocks is not None:
                fitting, cost = whole_blocks(wanted, blocks, free)
            if not pagemap.still_there():
                status[begin:] = -errno.ESRCH
                break
            if fitting:
                batch = slice(begin, begin + fitting)
                status[batch] = self._act(part, batch, node)
            free -= cost
            if fitting < len(wanted):
                batches = 0  # a block that lies in two batches was counted twice: see what is really left
        return status

    def _came_along(self, pages: U32, target: int) -> None:
        """Folios came to be while single pages moved: their other pages may have moved too.

        The kernel moves them back whole as well, so that one page's origin in the journal is enough; where they were
        last heard of is written all the same.
        """
        others = np.setdiff1d(self._placement.block_pages(pages), pages, assume_unique=True)
        self.write_origins(others)
        before = self._state.place[others].copy()
        self._placement.locate(others)
        self.count(others, before, target)

    def write_origins(self, pages: U32, shared: bool = False) -> None:
        """Tell the journal where these pages are, those that it does not know yet; all if they are `shared` after a
        fork, which it did not know."""
        state = self._state
        new = pages if shared else pages[(state.marks[pages] & ORIGIN_WRITTEN) == 0]
        # What was swapped before we came has no node to go back to.
        new = new[state.place[new] < (NOWHERE if self._tier is None else self._tier.node)]
        if len(new) == 0 or self._journal is None:
            return
        number, address = self._spaces.table.where(new)
        for each in np.unique(number).tolist():
            if (home := self._spaces.home(each)) is not None:
                mine = number == each
                self._journal.origins(home, address[mine], state.place[new[mine]], shared)
        state.marks[new] |= ORIGIN_WRITTEN

    def _note_failed(self, page: U32, status: I32) -> None:
        self.counts.note(status)
        if self.watcher is not None:
            self.watcher.failed(page, -status)

    def count(self, page: U32, before: U8, target: int, by: str = "move_pages") -> None:
        """Count those of the pages that came to `target`; `before` (uint8[K]) is where they were, `by` who moved
        them."""
        state = self._state
        if self.watcher is not None:
            came = (state.place[page] == target) & (before != target)
            self.watcher.moved(page[came], before[came], target, by)
        promoted, demoted, returned = tally(state.place, state.marks, self._rank, page, before, target)
        self.counts.promoted += promoted
        self.counts.demoted += demoted
        self.counts.returned += returned
        if self._tier is not None:
            self.counts.compressed += demoted * (target == self._tier.node)
            fetched = (state.place[page] == target) & (before == self._tier.node) & (before != target)
            self.counts.fetched += int(np.count_nonzero(fetched))

    def _act(self, part: Reached, batch: slice, node: I32) -> I32:
        """Status of each page; those in the compressed tier come into memory first."""
        pid, pages, address = part.space.pid, part.page[batch], part.address[batch]
        if self._tier is not None and node[0] == self._tier.node:
            status = self._tier.put(pid, address)
            self.counts.locked += int(np.count_nonzero(status == -errno.EINVAL))
            return status
        if self._tier is not None and (out := self._state.place[pages] == self._tier.node).any():
            self._tier.fetch(pid, address[out])
        try:
            return move_pages(pid, address, node[: len(address)], part.everyone)
        except OSError as error:
            return _refused(error, len(address))

    def _sort_out(self, pages: U32, status: I32, target: int) -> U32:
        """Remember what the kernel said of each page that did not move; return those that may another time."""
        state = self._state
        no_room = pages[status == _NO_ROOM]
        # The next refresh notices a process that ended.
        answered = (status != target) & (status != _NO_ROOM) & (status != -errno.ESRCH)
        pages, status = pages[answered], status[answered]
        state.put(pages, np.where(status >= 0, status, state.place[pages]).astype(np.uint8))
        state.put(pages[np.isin(status, (-errno.ENOENT, -errno.EFAULT))], NOWHERE)
        # Other processes map it too, so we must not move it.
        state.set_kind(pages[status == -errno.EACCES], MappingKind.SHARED)
        status = np.where(status >= 0, -errno.EBUSY, status)
        self._note_failed(pages, status)
        busy: U32 = pages[np.isin(status, [-number for number in _TRANSIENT])]
        if self._tier is not None and target == self._tier.node:
            state.give_up(pages[status == -errno.EINVAL])
            state.add_retry(busy, REFUSAL_SHIFT)
        else:
            state.add_retry(busy)
        return joined([busy, no_room])


def _ask_again(pid: int, address: U64, status: I32) -> None:
    """Ask for the status of the busy pages: a call that gave up did not reach some of them."""
    unsure = status == -errno.EBUSY
    try:
        status[unsure] = query_nodes(pid, address[unsure])
    except OSError as error:
        status[unsure] = _refused(error, int(unsure.sum()))


def _refused(error: OSError, pages: int) -> I32:
    """An error of a whole call as the status of each page.

    EACCES of the whole call (the program's cpuset forbids the node) becomes EPERM: of one page, it would mean that
    others map the page.
    """
    # EINVAL: it ended and is not reaped yet (find_mm_struct, mm/migrate.c).
    meaning = {errno.EINVAL: errno.ESRCH, errno.EACCES: errno.EPERM}
    number = error.errno or errno.EBUSY
    return np.full(pages, -meaning.get(number, number), np.int32)
