"""The address spaces of the tracked programs, and how their addresses become dense pages.

Follows forks, execs, exits and changed mappings by reading `/proc`. An address range gets sections when something in it
is first seen, and loses them on unmap, exec and exit. Files and shared memory are spaces of their own (`Objects`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pghot.arrays import I32, I64, U8, U32, U64, Bool
from pghot.kernel.file_systems import FileSystems
from pghot.kernel.folios import folio_births, has_large_folios, small_sizes_on
from pghot.kernel.kvm import runs_guest
from pghot.kernel.maps import MappingKind, Mappings, read_maps_text
from pghot.kernel.maps_decode import fill_kinds
from pghot.kernel.maps_text import parse_maps
from pghot.kernel.mempolicy import Policies
from pghot.kernel.process import Identity, Stat, pid_max, read_stat, resident_bytes
from pghot.kernel.shortage import ShortageError
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import FileIdentity, MappedFile, Space
from pghot.live.machine.asking import Asking, Told
from pghot.live.machine.eligibility import count_kinds
from pghot.live.machine.kinds import BY_DEFAULT, Kinds, judged, private_files
from pghot.live.machine.objects import FIRST_PID, Objects
from pghot.live.machine.pages import Pages
from pghot.live.machine.sections import (
    ABSENT,
    FOREIGN,
    PAGE_SHIFT,
    SECTION_PAGES,
    SECTION_SHIFT,
    SectionTable,
)
from pghot.live.machine.strays import Strays, mapped_since

_SECTION_BYTES_SHIFT = PAGE_SHIFT + SECTION_SHIFT
LAST_SPACE = 65535
# What the kernel walks page tables for (`Asking`) is asked again after this many refreshes at the earliest, and then
# takes so many seconds for each refresh: 1 % of the time.
ASK_EVERY = 10
# So many mappings are read at each refresh (6 ms, Linux 6.18): with more, the maps are read at every second, third...
READ_EACH_TIME = 16384
ASK_S = 0.01


@dataclass(slots=True)
class _Tracked:
    space: Space
    text: bytes  # of its maps, when it was last read, behind the lines that are known since
    plain: Mappings  # as the text has them
    policies: Policies | None  # of their owner; None: not known yet
    mappings: Mappings  # with these being told apart
    huge: bool | None = None  # whether it has large folios; None: not asked yet
    guessed: bool = False  # taken to have some until it is asked again
    read: int = 0  # the refresh at which its maps were read last
    asked: int = 0  # the refresh at which it was asked last
    waits: bool = False  # for an answer


@dataclass(slots=True)
class Changes:
    """What a refresh found. `forgotten` are dense ranges whose pages are gone."""

    any: bool = False
    forgotten: list[slice] = field(default_factory=list)


class Spaces:
    """The tracked address spaces, the files that they map, and the sections of both."""

    def __init__(self, root: SysRoot, sections: int, kinds: Kinds = BY_DEFAULT) -> None:
        self._root, self._kinds = root, kinds
        self._file_systems = FileSystems(root)
        self.table = SectionTable(sections, max(pid_max(root), FIRST_PID + LAST_SPACE))
        self.objects = Objects(root, self.table, kinds, self._next_number)
        self.pages = Pages(self.table.pages)
        self._tracked: dict[int, _Tracked] = {}
        self._strays = Strays()
        self._last_number = 0
        self._refreshes = 0
        self._births = folio_births(root)
        self._small_sizes = small_sizes_on(root)
        self._asking = Asking(root)
        self._spare_s = 0.0
        self.skipped = dict.fromkeys((kind.name.lower() for kind in _LEFT_ALONE), 0)
        self.skipped |= {"foreign": 0, "no_section": 0, "left_out": 0}

    @property
    def spaces(self) -> tuple[Space, ...]:
        return tuple(tracked.space for tracked in self._tracked.values())

    def space(self, number: int) -> Space | None:
        """The space with this number while it is tracked."""
        tracked = self._tracked.get(number)
        return tracked.space if tracked else None

    def numbers(self) -> list[int]:
        """Of the tracked spaces and files."""
        return [*self._tracked, *self.objects.numbers()]

    def home(self, number: int) -> Space | MappedFile | None:
        """What has this number: a space or a file, while it is tracked."""
        return self.space(number) or self.objects.file(number)

    def identities(self) -> frozenset[Identity | FileIdentity]:
        """Of the tracked spaces and files."""
        homes = [self.home(number) for number in self.numbers()]
        return frozenset(home.identity for home in homes if home is not None)

    def has_huge_pages(self, number: int) -> bool:
        """Whether moving one page of this space or file may move its neighbours along."""
        tracked = self._tracked.get(number)
        if tracked is None:
            return self.objects.has_large_folios(number)
        if tracked.huge is None:
            pid = tracked.space.pid
            tracked.guessed = not self._asking.at_once(pid)
            tracked.huge = tracked.guessed or has_large_folios(self._root, pid)
        return tracked.huge

    def notice_folios(self) -> bool:
        """Whether any program got large folios since this was last asked; it may be one of ours.

        khugepaged can make some from old memory at any time. Until a program is asked again, it counts as having some.
        """
        births = folio_births(self._root)
        if births == self._births:
            return False
        self._births = births
        self._guess_folios()
        return True

    def _guess_folios(self) -> None:
        for tracked in self._tracked.values():
            if tracked.huge is False:
                tracked.huge = tracked.guessed = True

    def bound_bytes(self) -> int:
        """Memory that is not moved only because its owner set a strict policy."""
        total = 0
        for tracked in self._tracked.values():
            bound = (tracked.mappings.kind == MappingKind.BOUND) & (tracked.plain.kind == MappingKind.MOVABLE)
            total += int((tracked.plain.end - tracked.plain.start)[bound].sum())
        return total

    def unscanned_bytes(self) -> int:
        """Resident anonymous memory that gets no hint faults because of a policy of its owner, as last asked."""
        known = [tracked.policies for tracked in self._tracked.values() if tracked.policies is not None]
        return sum(policies.unscanned_bytes for policies in known)

    def knows_policies(self, number: int) -> bool:
        """Whether the policies of this space's memory are known. Until then nothing of it moves."""
        tracked = self._tracked.get(number)
        return tracked is None or tracked.policies is not None

    def policy_unknown_bytes(self) -> int:
        """Resident memory of programs whose policies are not known yet."""
        return sum(
            resident_bytes(self._root, tracked.space.pid)
            for tracked in self._tracked.values()
            if tracked.policies is None
        )

    def stop_asking(self) -> None:
        """Nothing more will be asked for; what is being asked is not waited for."""
        self._asking.stop()

    def hugetlb_bytes(self) -> int:
        """Memory in mappings of hugetlb pages that are not moved."""
        total = 0
        for tracked in self._tracked.values():
            held = tracked.mappings.kind == MappingKind.HUGETLB
            total += int((tracked.mappings.end - tracked.mappings.start)[held].sum())
        return total

    def pooled(self, page: U32) -> Bool:
        """bool[K]: which of the pages are of a hugetlb pool."""
        numbers = self.objects.pooled()
        if not numbers:
            return np.zeros(len(page), np.bool_)
        return np.isin(self.table.where(page)[0], numbers)

    def pooled_sections(self, pooled: bool) -> I64:
        """int64[S]: the sections in use with pages of hugetlb pools, or the others; those of one space side by side,
        ascending by address."""
        sections = self.table.in_use()
        chosen: I64 = sections[self.pooled((sections << SECTION_SHIFT).astype(np.uint32)) == pooled]
        return chosen

    def with_guests(self) -> list[Space]:
        """Programs that run virtual machines."""
        return [tracked.space for tracked in self._tracked.values() if runs_guest(tracked.text)]

    # ---- who is tracked

    def refresh(self, pids: Iterable[int]) -> Changes:
        """Track exactly these processes from now on; notice exits, execs and changed mappings.

        Raises `ShortageError` before anything is changed. A program whose mappings cannot be asked for then stays as it
        is until the next refresh, or is tracked from then on.
        """
        changes = Changes()
        self._refreshes += 1
        self._asking.begin_refresh()
        wanted = self._alive(pids)
        for number, tracked in list(self._tracked.items()):
            if wanted.get(tracked.space.pid, None) is None or (
                wanted[tracked.space.pid].identity != tracked.space.identity
            ):
                self._drop(number, changes)
        known = {tracked.space.pid: number for number, tracked in self._tracked.items()}
        for pid, stat in wanted.items():
            with contextlib.suppress(ShortageError):
                if pid in known:
                    self._remap(known[pid], changes)
                else:
                    self._adopt(stat, changes)
        with contextlib.suppress(ShortageError):
            if (small := small_sizes_on(self._root)) != self._small_sizes:
                self._small_sizes = small
                self._guess_folios()
            self._ask_again(changes)
        self._look_at_objects(changes)
        return changes

    def _look_at_objects(self, changes: Changes) -> None:
        for number in self.objects.take_unmapped():
            for slot, _ in self.table.slots(number):
                self._release(slot, changes)
        tracked = frozenset(tracked.space.pid for tracked in self._tracked.values())
        changed: list[int] = []
        with contextlib.suppress(ShortageError):
            changed = self.objects.take_changed(tracked)
        for number in changed:
            for slot, _ in self.table.slots(number):
                kind = self.pages.kind[slot << SECTION_SHIFT : (slot + 1) << SECTION_SHIFT].copy()
                # What others mapped is tried again.
                kind[np.isin(kind, (MappingKind.SHARED, MappingKind.MOVABLE))] = self.objects.kind(number)
                self.pages.change(slot, kind)

    def _ask_again(self, changes: Changes) -> None:
        """Ask about large folios and policies, longest ago first, as far as the time allows."""
        self._spare_s = min(self._spare_s, ASK_EVERY * ASK_S) + ASK_S
        for told in self._asking.told():
            if (number := self._number_of(told.identity)) is not None:
                self._take(self._tracked[number], told, changes)
        for tracked in sorted(self._tracked.values(), key=lambda tracked: tracked.asked):
            if self._spare_s <= 0 or self._refreshes - tracked.asked < ASK_EVERY:
                return
            if tracked.waits:
                continue
            if self._asking.at_once(tracked.space.pid):
                self._take(tracked, self._asking.ask(tracked.space.identity, tracked.guessed), changes)
            elif not self._asking.busy:
                self._ask_beside(tracked)

    def _ask_beside(self, tracked: _Tracked) -> None:
        self._asking.ask_beside(tracked.space.identity, tracked.guessed)
        tracked.waits = True

    def _number_of(self, identity: Identity) -> int | None:
        """Of the space that this memory has, while it is tracked."""
        number = int(self.table.spaces_of(np.array([identity.pid], np.int32))[0])
        tracked = self._tracked.get(number)
        return number if tracked is not None and tracked.space.identity == identity else None

    def _take(self, tracked: _Tracked, told: Told, changes: Changes) -> None:
        """What the kernel said of a program."""
        mappings = self._judged(tracked.space.pid, tracked.plain, told.policies)
        if tracked.policies is not None:
            self._spare_s -= told.took_s
        tracked.asked, tracked.waits = self._refreshes, False
        if told.large_folios is not None:
            tracked.huge, tracked.guessed = told.large_folios, False
        before, tracked.policies = tracked.policies, told.policies
        if before is None or not np.array_equal(before.bound, told.policies.bound):
            self._changed(tracked, mappings, changes)

    def _alive(self, pids: Iterable[int]) -> dict[int, Stat]:
        found = {}
        for pid in pids:
            try:
                stat = read_stat(self._root, pid)
            except OSError:
                continue
            if not stat.dead and not stat.kernel_thread:
                found[pid] = stat
        return found

    def _adopt(self, stat: Stat, changes: Changes) -> None:
        if len(self._tracked) == LAST_SPACE:
            return
        text = self._read_maps(stat.identity.pid)
        if text is None:
            return
        number, plain = self._next_number(), parse_maps(text)
        policies = None
        if self._asking.at_once(stat.identity.pid):
            policies = self._asking.ask(stat.identity, folios=False).policies
        mappings = self._judged(stat.identity.pid, plain, policies)
        space = Space(number, stat.identity, stat.comm, *mappings.movable())
        tracked = _Tracked(
            space, text, plain, policies, mappings, read=self._refreshes, asked=self._refreshes
        )
        self._tracked[number] = tracked
        self.table.assign(space.pid, number)
        self._map_objects(tracked)
        changes.any = True
        if policies is None:
            self._ask_beside(tracked)

    def _judged(self, pid: int, plain: Mappings, policies: Policies | None) -> Mappings:
        """The mappings with what the file systems, the kinds asked for and their owner say of them."""
        kind = judged(plain, self._file_systems.memory(pid, plain.device), self._kinds)
        mappings = replace(plain, kind=kind)
        return mappings.with_policy_unknown() if policies is None else mappings.bound(policies.bound)

    def _map_objects(self, tracked: _Tracked) -> None:
        memory = self._file_systems.memory(tracked.space.pid, tracked.plain.device)
        private = private_files(tracked.plain, memory)
        self.objects.map(tracked.space, tracked.mappings, private, memory, tracked.text)

    def _next_number(self) -> int:
        """A number that no tracked space or file has. After 65535 of them the first numbers are reused."""
        self._last_number = self._last_number % LAST_SPACE + 1
        while self.home(self._last_number) is not None:
            self._last_number = self._last_number % LAST_SPACE + 1
        return self._last_number

    def _drop(self, number: int, changes: Changes) -> None:
        tracked = self._tracked.pop(number)
        self._strays.take(number)
        self.table.assign(tracked.space.pid, 0)
        self.objects.unmap(number)
        for slot, _ in self.table.slots(number):
            self._release(slot, changes)
        changes.any = True

    def _remap(self, number: int, changes: Changes) -> None:
        tracked = self._tracked[number]
        strays = self._strays.take(number)
        if (now := self._maps_now(tracked, strays)) is None or now[0] == tracked.text:
            return
        mappings = self._judged(tracked.space.pid, now[1], tracked.policies)
        tracked.text, tracked.plain = now
        if tracked.policies is not None and len(tracked.policies.bound):
            tracked.asked = 0  # they are known by their start address, which may have changed: ask soon
        self._changed(tracked, mappings, changes)

    def _changed(self, tracked: _Tracked, mappings: Mappings, changes: Changes) -> None:
        """Other mappings or policies than before. Only sections in which something differs are looked at."""
        space = tracked.space
        before, tracked.mappings = tracked.mappings, mappings
        if (between := before.changed_between(tracked.mappings)) is None:
            return
        tracked.space = Space(space.number, space.identity, space.name, *tracked.mappings.movable())
        self._map_objects(tracked)
        first, last = between[0] >> _SECTION_BYTES_SHIFT, (between[1] - 1) >> _SECTION_BYTES_SHIFT
        for slot, section in self.table.slots(space.number):
            if first <= section <= last:
                self._rekind(slot, section, tracked, changes)
        changes.any = True

    def _maps_now(self, tracked: _Tracked, strays: U64) -> tuple[bytes, Mappings] | None:
        """The text of a program's maps and what it says, the same text when nothing has changed, None: it has ended.

        Where that would be much to read each time, often only what was sighted is asked for.
        """
        pid, text = tracked.space.pid, tracked.text
        if self._refreshes - tracked.read <= len(tracked.plain) // READ_EACH_TIME:
            try:
                if len(strays) == 0:
                    return text, tracked.plain
                if (since := mapped_since(self._root, pid, tracked.plain, strays)) is not None:
                    return since[0] + text, since[1]
            except OSError:
                return None
        text = self._read_maps(pid) or text
        tracked.read = self._refreshes
        return text, tracked.plain if text == tracked.text else parse_maps(text)

    def _read_maps(self, pid: int) -> bytes | None:
        try:
            return read_maps_text(self._root, pid)
        except OSError:
            return None  # it ended, or changed its user, since its stat was read

    # ---- sections

    def _rekind(self, slot: int, section: int, tracked: _Tracked, changes: Changes) -> None:
        """Rewrite the kinds of a section's pages. Pages that lost their mapping are forgotten."""
        kind = _kinds(section, tracked.mappings)
        if kind.any():
            changes.forgotten += self.pages.change(slot, kind)
        else:
            self._release(slot, changes)

    def _release(self, slot: int, changes: Changes) -> None:
        self.pages.end(slot)
        self.table.remove(slot)
        changes.forgotten.append(slice(slot << SECTION_SHIFT, (slot + 1) << SECTION_SHIFT))

    def _provide(self, pid: I32, address: U64) -> None:
        """Give sections to these addresses where something is mapped."""
        for number, section in self.table.absent(pid, address):
            kind = self._kinds_in(number, section)
            slot = self.table.add(number, section) if kind.any() else None
            if slot is not None:
                self.pages.begin(slot, kind)

    def _kinds_in(self, number: int, section: int) -> U8:
        """uint8[32768]: the kind of each page of a section of a space or file."""
        if (tracked := self._tracked.get(number)) is not None:
            return _kinds(section, tracked.mappings)
        return np.full(SECTION_PAGES, self.objects.kind(number), np.uint8)

    def seen_at(self, page: U32) -> tuple[I32, U64]:
        """A process (pid int32[K], 0: none any more) and an address in it (uint64[K] bytes) at which each page is."""
        number, address = self.table.where(page)
        for each in np.unique(number).tolist():
            if self.objects.file(each) is not None:
                mine = np.flatnonzero(number == each)
                number[mine], address[mine] = self.objects.reach(page[mine], each, address[mine])
        pids = {space.number: space.pid for space in self.spaces}
        return np.array([pids.get(each, 0) for each in number.tolist()], np.int32), address

    # ---- addresses to pages

    def _copies(self, page: U32) -> None:
        """These pages of private file mappings are the process's own, for as long as the mapping is there."""
        kind = self.pages.kind
        page = page[np.isin(kind[page], (MappingKind.FILE, MappingKind.OBJECT))]
        kind[page] = MappingKind.MOVABLE
        for section in np.unique(page >> np.uint32(SECTION_SHIFT)).tolist():
            self.pages.recount(section)

    def _note_strays(self, pid: I32, address: U64) -> None:
        """Remember them for programs of which not all mappings are read each time."""
        space = self.table.spaces_of(pid)
        for number in np.unique(space).tolist():
            tracked = self._tracked.get(number)
            if tracked is not None and len(tracked.plain) >= READ_EACH_TIME:
                self._strays.note(number, address[space == number])

    def lookup(self, pid: I32, address: U64) -> tuple[U32, npt.NDArray[np.bool_]]:
        """Dense pages uint32[K] and bool[K]: which of them are movable pages of tracked programs.

        The others are counted in `skipped` by their reason, once for each sighting.
        """
        pid, address, space, copied = self.objects.resolve(pid, address)
        page = self.table.lookup(pid, address)
        absent = page == ABSENT
        if absent.any():
            self._provide(pid[absent], address[absent])
            page = self.table.lookup(pid, address)
        tracked = page < ABSENT
        of_file = tracked & (pid >= FIRST_PID)
        self.objects.saw(page[of_file], space[of_file])
        self._copies(page[copied & tracked])
        movable = np.empty(len(page), np.bool_)
        count = np.zeros(len(MappingKind), np.int64)
        count_kinds(self.pages.kind, page, movable, count)
        absent = page == ABSENT
        if absent.any() or count[MappingKind.UNMAPPED]:
            nowhere = absent | (
                tracked & (self.pages.kind[np.where(tracked, page, 0)] == MappingKind.UNMAPPED)
            )
            self._note_strays(pid[nowhere], address[nowhere])
        self.skipped["foreign"] += int(np.count_nonzero(page == FOREIGN))
        self.skipped["no_section"] += int(np.count_nonzero(absent))
        for reason in _LEFT_ALONE:
            self.skipped[reason.name.lower()] += int(count[reason])
        return page, movable


_LEFT_ALONE = tuple(kind for kind in MappingKind if kind not in (MappingKind.MOVABLE, MappingKind.OBJECT))


def _kinds(section: int, mappings: Mappings) -> U8:
    """uint8[32768]: the kind of each page of a section."""
    kind = np.empty(SECTION_PAGES, np.uint8)
    fill_kinds(mappings.start, mappings.end, mappings.kind, section << _SECTION_BYTES_SHIFT, kind)
    return kind
