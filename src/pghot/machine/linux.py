"""The machine that we run on: where tracked pages are, and moving them with move_pages(2).

Only private anonymous pages of tracked programs are moved, in batches, within a byte rate, and never so many that
the target falls below its free floor. Before anything moves, the journal is told where it was.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pghot.kernel.lru_gen import age, demote_oldest, memcg_path, read_lru_gen
from pghot.kernel.maps import Kind
from pghot.kernel.move_pages import move_pages, query_nodes
from pghot.kernel.process import alive, cgroup_path
from pghot.kernel.spaces import Space
from pghot.kernel.sysroot import SysRoot
from pghot.machine.bucket import TokenBucket
from pghot.machine.machine import Moves
from pghot.machine.nodes import LiveTopology, free_pages, free_pages_on
from pghot.machine.pages import DEMOTED, NOWHERE, OLDEST, ORIGIN_WRITTEN, PROMOTED, WOULD_MOVE
from pghot.machine.pingpong import PingPongGuard
from pghot.machine.sections import SECTION_PAGES
from pghot.machine.spaces import Spaces
from pghot.units import PAGE_BYTES

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

HUGE_PAGES = 512  # 2 MiB in 4 KiB pages: the largest folio that anonymous memory has
AGEING_MS = 2000  # as the kernel's page-table scans
COLD_AGE = 2  # ageing periods unseen before a page may be demoted to make room
# The same for a page that came back after a demotion. A source that sees lower tiers only (hint faults) never sees
# a promoted page again, so being unseen says little of it; having come back says much. Each hot page is taken down
# wrongly once at most.
RETURNED_AGE = 30
BUSY_RETRIES = 3
# Pages that per-CPU counters can hide from nodeN/meminfo (stat_threshold is at most 125, mm/vmstat.c).
DRIFT_PAGES_PER_CPU = 125
# With so much room above the floor, what is free is asked before every fourth batch only: four batches of 512 take
# about 3 ms, in which nobody else allocates 64 MiB.
PLENTY_PAGES = (64 << 20) // PAGE_BYTES
PLENTY_BATCHES = 4
_TRANSIENT = (errno.EBUSY, errno.EAGAIN, errno.ENOMEM)


# How room is made on a full node: by demoting the tracked pages that were not seen for longest; by memory.reclaim of
# the programs' cgroups (Linux >= 5.19) or by evicting their oldest generation (multi-gen LRU), where the kernel picks
# the pages and needs demotion_enabled; or not at all.
DEMOTIONS = ("move_pages", "reclaim", "lru_gen", "off")
DEMOTION_ENABLED = "/sys/kernel/mm/numa/demotion_enabled"


class Journal(Protocol):
    """Remembers where pages were, before they move."""

    def origins(self, space: Space, address: U64, node: U8) -> None:
        """Pages of `space` (uint64[K] bytes, ascending) and the node of each (uint8[K])."""


@dataclass(frozen=True, slots=True)
class MoverSettings:
    """How pages are moved.

    apply            False: a dry run; nothing moves, what would move is counted once for each page
    rate_limit_mb_s  promotions, MiB/s
    floor_share      a target keeps this share of its pages free, and its high watermark in any case
    batch_pages      pages in one move_pages call
    demotion         who makes room on a full node, one of `DEMOTIONS`
    """

    apply: bool = False
    rate_limit_mb_s: float = 256.0
    floor_share: float = 0.01
    batch_pages: int = 512
    demotion: str = "move_pages"


@dataclass(slots=True)
class MoveCounts:
    """Totals of pages; `status` counts the errno of each page that did not move."""

    promoted: int = 0
    demoted: int = 0
    failed: int = 0
    returned: int = 0
    status: dict[str, int] = field(default_factory=dict)
    lowest_free_margin: int | None = None

    def note(self, status: I32) -> None:
        for number in np.unique(status[status < 0]).tolist():
            name = errno.errorcode.get(-number, str(-number))
            self.status[name] = self.status.get(name, 0) + int(np.count_nonzero(status == number))


class LinuxMachine:
    """A `Machine` over the tracked spaces. `tick` once before each round of the policy."""

    def __init__(
        self,
        root: SysRoot,
        topology: LiveTopology,
        spaces: Spaces,
        settings: MoverSettings,
        journal: Journal | None,
        now_ns: int,
    ) -> None:
        self._root, self._spaces, self._settings, self._journal = root, spaces, settings, journal
        self.topology = topology
        self.place = spaces.pages.place
        self.rank = np.array(topology.rank, np.int64)
        self.lower = self.rank > 0
        self.capacity_pages = np.array(topology.capacity_pages, np.int64)
        self.high_pages = np.array(topology.high_pages, np.int64)
        self.top_nodes = topology.top_nodes
        self.demotion_enabled = settings.demotion != "off"
        self.free_pages = np.zeros(len(self.rank), np.int64)
        self.floor_pages = np.maximum(
            self.high_pages, (self.capacity_pages * settings.floor_share).astype(np.int64)
        )
        self._drift_pages = DRIFT_PAGES_PER_CPU * (os.cpu_count() or 1)
        self.bucket = TokenBucket(settings.rate_limit_mb_s, now_ns)
        self.guard = PingPongGuard(now_ns // 1_000_000)
        self.counts = MoveCounts()
        # Where "reclaim" and "lru_gen" may demote: cgroups whose every program is tracked.
        self.cgroups: tuple[str, ...] = ()
        self.now_ns: float = now_ns
        self._aged_ms = now_ns // 1_000_000
        self._generations_aged_ms = 0
        self._would_use = np.zeros(len(self.rank), np.int64)

    @property
    def promotion_targets(self) -> Sequence[Sequence[int]]:
        return self.topology.promotion_targets

    def tick(self, now_ns: int) -> None:
        """Let time pass and read how much is free."""
        self.now_ns = now_ns
        self.bucket.refill(now_ns)
        self.free_pages[:] = free_pages(self._root, self.topology) - self._would_use
        now_ms = now_ns // 1_000_000
        self.guard.tick(now_ms, self.counts.promoted, self.counts.returned)
        if now_ms - self._aged_ms >= AGEING_MS:
            self._aged_ms = now_ms
            self._spaces.pages.grow_older(self._spaces.sections_in_use())

    # ---- where pages are

    def locate(self, page: U32) -> None:
        """Ask the kernel for the node of each page (uint32[K]) and remember it."""
        for space, pages, address in self._by_space(page):
            try:
                status = query_nodes(space.pid, address)
            except OSError:
                continue  # it ended; the next refresh notices
            self.place[pages] = np.where(status >= 0, status, NOWHERE)

    def survey(self, space: Space) -> None:
        """Find all movable pages of a space that are present, and write their origins when moves are allowed."""
        for start, end in zip(space.start.tolist(), space.end.tolist(), strict=True):
            for begin in range(start, end, SECTION_PAGES * PAGE_BYTES):
                pages = (min(end, begin + SECTION_PAGES * PAGE_BYTES) - begin) // PAGE_BYTES
                offset = np.arange(pages, dtype=np.uint64) * np.uint64(PAGE_BYTES)
                self._survey(space, np.uint64(begin) + offset)

    def _survey(self, space: Space, address: U64) -> None:
        try:
            status = query_nodes(space.pid, address)
        except OSError:
            return
        present = status >= 0
        page, movable = self._spaces.lookup(np.full(present.sum(), space.pid, np.int32), address[present])
        page = page[movable]
        fresh = self.place[page] == NOWHERE
        self.place[page] = status[present][movable]
        self._spaces.pages.age[page[fresh]] = OLDEST
        if self._settings.apply:
            self._write_origins(space, page)

    def _by_space(self, page: U32) -> Iterator[tuple[Space, U32, U64]]:
        """The pages of each tracked space with their addresses, ascending within a section."""
        if len(page) == 0:
            return
        page = np.sort(page)
        numbers, address = self._spaces.table.where(page)
        if numbers[0] == numbers.max() == numbers.min():
            if (space := self._spaces.space(int(numbers[0]))) is not None:
                yield space, page, address
            return
        for number in np.unique(numbers).tolist():
            if (space := self._spaces.space(number)) is not None:
                held = numbers == number
                yield space, page[held], address[held]

    # ---- what may move

    def room(self, node: int) -> int:
        """Pages that can be put on `node` now without crossing its free floor."""
        return max(0, int(self.free_pages[node] - self.floor_pages[node]) - self._drift_pages)

    def pages_in_budget(self, thread: str, span_ns: float | None = None) -> int:
        """Pages that the rate limit and the ping-pong guard allow now."""
        return int(self.bucket.bytes_now() * self.guard.share) // PAGE_BYTES

    def charge_tracking(self, app_ns: float, kernel_ns: float, thread: str) -> None:
        """Real time passes by itself."""

    def balance(self) -> None:
        """kswapd does that."""

    # ---- moving

    def migrate(self, page: U32, target: int, payer: str, batch_pages: int = 512) -> Moves:
        """See `Machine.migrate`. `failed` are pages that were busy or found no room."""
        source = self.place[page]
        page = page[(source != NOWHERE) & (source != target) & (self._retries(page) < BUSY_RETRIES)]
        if not self._settings.apply:
            return self._pretend(page, target)
        wanted = self._with_folios(page)
        if self._settings.demotion != "off" and self.demotion_enabled and wanted > self.room(target):
            self._make_room(target, wanted - self.room(target))
        before = self.counts.promoted
        moves = self._in_batches(page, target)
        self.bucket.spend((self.counts.promoted - before) * PAGE_BYTES)
        return moves

    def demote(self, page: U32, node: int, thread: str) -> int:
        """See `Machine.demote`."""
        done = 0
        for target in self.topology.demotion_targets[node]:
            moves = self._in_batches(page, target)
            done += len(moves.moved)
            page = moves.failed
            if len(page) == 0:
                break
        return done

    def _pretend(self, page: U32, target: int) -> Moves:
        marks = self._spaces.pages.marks
        fresh = page[(marks[page] & WOULD_MOVE) == 0][: self.room(target)]
        marks[fresh] |= WOULD_MOVE
        self._would_use[target] += len(fresh)
        self.free_pages[target] -= len(fresh)
        self.counts.promoted += len(fresh)
        return Moves(fresh, np.empty(0, np.uint32))

    def _in_batches(self, page: U32, target: int) -> Moves:
        """Move as many of the pages as fit, the first ones first, in batches of one space."""
        fit = self.room(target)
        moved, failed = [], [page[fit:]]
        for space, pages, address in self._by_space(page[:fit]):
            around = self._folios_around(space, pages)
            self._write_origins(space, around)
            before = self.place[around].copy()
            whole_folios = len(around) > len(pages)
            for begin in range(0, len(pages), self._settings.batch_pages):
                room = self._room_now(target, begin // self._settings.batch_pages)
                end = min(begin + self._settings.batch_pages, len(pages))
                fitting = whole_blocks(pages[begin:end], around, room) if whole_folios else room
                batch = slice(begin, min(end, begin + fitting))
                if batch.stop < end:
                    failed.append(pages[batch.stop : end])
                done, busy = self._move(space, pages[batch], address[batch], target)
                moved.append(done)
                failed.append(busy)
            if whole_folios:
                self.locate(around)
            self._count(around, before, target)
        if any(len(part) for part in moved):
            self.free_pages[target] = free_pages_on(self._root, target)
            self._note_margin(target)
        return Moves(_joined(moved), _joined(failed))

    def _room_now(self, node: int, batch: int) -> int:
        """`room` with what is free now, for others allocate between two batches; asked seldom while there is plenty."""
        self.free_pages[node] -= self._settings.batch_pages
        if batch % PLENTY_BATCHES == 0 or self.room(node) < PLENTY_PAGES:
            self.free_pages[node] = free_pages_on(self._root, node)
            self._note_margin(node)
        return self.room(node)

    def _note_margin(self, node: int) -> None:
        """Remember how near a node that we fill came to its floor."""
        margin = int(self.free_pages[node] - self.floor_pages[node])
        lowest = self.counts.lowest_free_margin
        self.counts.lowest_free_margin = margin if lowest is None else min(lowest, margin)

    def _move(self, space: Space, pages: U32, address: U64, target: int) -> tuple[U32, U32]:
        """One move_pages call: the pages now on `target` and those worth another try."""
        if len(pages) == 0 or not alive(self._root, space.identity):
            return pages[:0], pages[:0]
        status = _try_move(space.pid, address, target)
        state = self._spaces.pages
        if (status == target).all():
            state.place[pages] = target
            state.age[pages] = 0
            return pages, pages[:0]
        if (status == -errno.ESRCH).all():
            return pages[:0], pages[:0]  # it ended; the next refresh notices
        return pages[status == target], self._sort_out(pages, status, target)

    def _sort_out(self, pages: U32, status: I32, target: int) -> U32:
        """Remember what the kernel said of each page; return those that may move another time."""
        state = self._spaces.pages
        state.place[pages] = np.where(status >= 0, status, state.place[pages])
        state.age[pages[status == target]] = 0
        gone = np.isin(status, (-errno.ENOENT, -errno.EFAULT))
        state.place[pages[gone]] = NOWHERE
        # Mapped by other processes too: theirs is not ours to move.
        state.kind[pages[status == -errno.EACCES]] = Kind.SHARED
        stayed = (status >= 0) & (status != target)
        transient = stayed | np.isin(status, [-number for number in _TRANSIENT])
        status = np.where(stayed, -errno.EBUSY, status)
        self.counts.note(status)
        self.counts.failed += int(np.count_nonzero(status < 0))
        busy: U32 = pages[transient]
        self._spaces.pages.add_retry(busy)
        return busy

    def _retries(self, page: U32) -> U8:
        return self._spaces.pages.retries(page)

    def _count(self, page: U32, before: U8, target: int) -> None:
        """Count what moved; `before` is where the pages were."""
        state = self._spaces.pages
        went = page[(state.place[page] == target) & (before != target) & (before != NOWHERE)]
        came_from = before[(state.place[page] == target) & (before != target) & (before != NOWHERE)]
        up = self.rank[came_from] > self.rank[target]
        promoted, demoted = went[up], went[self.rank[came_from] < self.rank[target]]
        self.counts.returned += int(np.count_nonzero(state.marks[promoted] & DEMOTED))
        state.marks[promoted] |= PROMOTED
        state.marks[demoted] |= DEMOTED
        self.counts.promoted += len(promoted)
        self.counts.demoted += len(demoted)

    # ---- folios and origins

    def _with_folios(self, page: U32) -> int:
        """Pages that may move when these do."""
        total = 0
        for space, pages, _ in self._by_space(page):
            huge = self._spaces.has_huge_pages(space.number)
            total += HUGE_PAGES * len(np.unique(pages // np.uint32(HUGE_PAGES))) if huge else len(pages)
        return total

    def _folios_around(self, space: Space, pages: U32) -> U32:
        """The pages that may move along: whole 2 MiB blocks where the process has huge pages."""
        if not self._spaces.has_huge_pages(space.number):
            return pages
        first: U32 = np.unique(pages // np.uint32(HUGE_PAGES)) * np.uint32(HUGE_PAGES)
        around = (first[:, None] + np.arange(HUGE_PAGES, dtype=np.uint32)).ravel()
        movable: U32 = around[self._spaces.pages.kind[around] == Kind.MOVABLE]
        self.locate(movable)
        return movable

    def _write_origins(self, space: Space, pages: U32) -> None:
        state = self._spaces.pages
        new = pages[((state.marks[pages] & ORIGIN_WRITTEN) == 0) & (state.place[pages] != NOWHERE)]
        if len(new) == 0 or self._journal is None:
            return
        _, address = self._spaces.table.where(new)
        self._journal.origins(space, address, state.place[new])
        state.marks[new] |= ORIGIN_WRITTEN

    # ---- making room

    def _make_room(self, node: int, pages: int) -> None:
        """Free `pages` of `node`, as far as the chosen demotion can."""
        if self._settings.demotion == "move_pages":
            cold = self.coldest(node, pages)
            if len(cold):
                self.demote(cold, node, "kmigrated")
        elif self.topology.demotion_targets[node]:
            self._let_the_kernel_demote(node, pages)
        self.free_pages[:] = free_pages(self._root, self.topology)

    def _let_the_kernel_demote(self, node: int, pages: int) -> None:
        """The kernel picks the pages; what may go is in the journal before, and what went is looked up after."""
        held = self._movable_on(node)
        for space, mine, _ in self._by_space(held):
            self._write_origins(space, mine)
        before = self.place[held].copy()
        for cgroup in self.cgroups:
            # EAGAIN: less than asked for could be reclaimed; a cgroup may be gone by now.
            with contextlib.suppress(OSError):
                if self._settings.demotion == "reclaim":
                    self._root.write(f"{cgroup_path(cgroup)}/memory.reclaim", str(pages * PAGE_BYTES))
                else:
                    self._evict(cgroup, node, pages)
        self.locate(held)
        for lower in self.topology.demotion_targets[node]:
            self._count(held, before, lower)

    def _evict(self, cgroup: str, node: int, pages: int) -> None:
        """Demote the oldest generations. Only ageing makes some: nobody else asks for it while pages are free."""
        generations = read_lru_gen(self._root)
        path = memcg_path("/" + cgroup_path(cgroup).removeprefix("/sys/fs/cgroup/"), generations)
        now_ms = int(self.now_ns) // 1_000_000
        if now_ms - self._generations_aged_ms >= AGEING_MS:
            self._generations_aged_ms = now_ms
            here = [each for each in generations if each.path == path and each.node == node]
            if here:
                age(self._root, max(here, key=lambda each: each.number))
        demote_oldest(self._root, [path], node, pages)

    def _movable_on(self, node: int) -> U32:
        """Movable tracked pages on `node`; those of one block side by side."""
        state, found = self._spaces.pages, []
        for section in self._spaces.sections_in_use():
            held = (state.place[section] == node) & (state.kind[section] == Kind.MOVABLE)
            found.append((np.flatnonzero(held) + section.start).astype(np.uint32))
        return _joined(found)

    def coldest(self, node: int, pages: int) -> U32:
        """Up to `pages` movable pages on `node`, longest unseen first; only those at least `COLD_AGE` old,
        `RETURNED_AGE` when they were demoted and came back."""
        page = self._movable_on(node)
        ages = self._ages(page)
        both = PROMOTED | DEMOTED
        returned = (self._spaces.pages.marks[page] & both) == both
        old = ages >= np.where(returned, RETURNED_AGE, COLD_AGE)
        cold, ages = page[old], ages[old]
        if len(cold) <= pages:
            return cold
        chosen: U32 = cold[np.argsort(OLDEST - ages, kind="stable")[:pages]]
        return chosen

    def _ages(self, page: U32) -> U8:
        """Ageing periods since each page was seen; with large folios, since any of its 2 MiB block was.

        The neighbours that came along with a promoted page are old by themselves, and would take it down again.
        """
        ages: U8 = self._spaces.pages.age[page]
        huge = [space.number for space in self._spaces.spaces if self._spaces.has_huge_pages(space.number)]
        if not huge or len(page) == 0:
            return ages
        starts = np.flatnonzero(np.diff((page // np.uint32(HUGE_PAGES)).astype(np.int64), prepend=-1))
        youngest = np.repeat(np.minimum.reduceat(ages, starts), np.diff(np.append(starts, len(page))))
        return np.where(np.isin(self._spaces.table.where(page)[0], huge), youngest, ages)


def _try_move(pid: int, address: U64, target: int) -> I32:
    """Status of each page. An error of the whole call (the program's cpuset forbids the node) is that of every page."""
    try:
        status = move_pages(pid, address, np.full(len(address), target, np.int32))
        unsure = status == -errno.EBUSY
        status[unsure] = query_nodes(pid, address[unsure])
        return status
    except OSError as error:
        # EINVAL: it ended and is not reaped yet (find_mm_struct, mm/migrate.c).
        gone = error.errno in (errno.ESRCH, errno.EINVAL)
        return np.full(len(address), -errno.ESRCH if gone else -(error.errno or errno.EBUSY), np.int32)


def whole_blocks(page: U32, around: U32, room: int) -> int:
    """How many of the first pages can move so that the 2 MiB blocks that may go along fit into `room`.

    page    uint32[K]  ascending
    around  uint32[M]  ascending; all movable pages of their blocks

    >>> block = np.arange(512, dtype=np.uint32)
    >>> whole_blocks(np.array([3, 4, 600], np.uint32), np.concatenate([block, block[:100] + 512]), 600)
    2
    """
    size = np.uint32(HUGE_PAGES)
    blocks, sizes = np.unique(around // size, return_counts=True)
    own, first = np.unique(page // size, return_index=True)
    fits = np.cumsum(sizes[np.searchsorted(blocks, own)]) <= room
    return len(page) if fits.all() else int(first[np.argmin(fits)])


def _joined(parts: list[U32]) -> U32:
    return np.concatenate(parts) if parts else np.empty(0, np.uint32)
