"""The `hashed` store in plain dictionaries and sets."""

from __future__ import annotations

from dataclasses import dataclass, field

from pghot.arrays import U8, Bool
from pghot.engine.accesses import Accesses


@dataclass(slots=True)
class ReferenceRecord:
    """A record with a full timestamp, so nothing can alias."""

    frequency: int
    nid: int | None
    time_ms: int


@dataclass(slots=True)
class HashedReference:
    """What `HashedStore` should hold. `heap_of` maps a node (None: unknown) to the heap of its target."""

    capacity: int
    heap_entries: int
    heap_of: dict[int | None, int]
    window_ms: int
    threshold: int
    wraps: bool = False
    records: dict[int, ReferenceRecord] = field(default_factory=dict)
    heaps: dict[int, set[int]] = field(default_factory=dict)
    unheard: int = 0
    heap_full: int = 0

    def record(self, accesses: Accesses, place: U8, eligible: Bool) -> int:
        """Enter one report after the other; return how many accesses entered."""
        rows = zip(accesses.page.tolist(), accesses.node.tolist(), accesses.count.tolist(), strict=True)
        entered = 0
        for page, node, count in rows:
            if count == 0 or not eligible[place[page]]:
                continue
            if page not in self.records and len(self.records) == self.capacity:
                self.unheard += count
                continue
            entered += count
            nid = None if node == -1 else node
            self._update(page, nid, count, accesses.time_ms, accesses.hint_fault)
            self._place(page)
        return entered

    def _update(self, page: int, nid: int | None, count: int, now_ms: int, hint_fault: bool) -> None:
        old = self.records.get(page, ReferenceRecord(0, None, now_ms))
        late = now_ms - old.time_ms > self.window_ms and not hint_fault
        moved = nid is not None and old.nid is not None and nid != old.nid
        frequency = (0 if late or moved else old.frequency) + count
        frequency = frequency % 8 if self.wraps else min(frequency, 7)
        self.records[page] = ReferenceRecord(frequency, old.nid if nid is None else nid, now_ms)

    def _place(self, page: int) -> None:
        record = self.records[page]
        target = self.heap_of[record.nid]
        hot = record.frequency >= self.threshold
        for heap, members in self.heaps.items():
            if page in members and (heap != target or not hot):
                members.remove(page)
        if hot and page not in self.heaps[target]:
            if len(self.heaps[target]) < self.heap_entries:
                self.heaps[target].add(page)
            else:
                self.heap_full += 1

    def forget(self, pages: list[int]) -> None:
        """Drop records, wherever they are."""
        for page in pages:
            self.records.pop(page, None)
            for members in self.heaps.values():
                members.discard(page)

    def prune(self, now_ms: int, keep_ms: int) -> int:
        """Drop records older than `keep_ms`; return how many."""
        old = [page for page, record in self.records.items() if now_ms - record.time_ms > keep_ms]
        self.forget(old)
        return len(old)
