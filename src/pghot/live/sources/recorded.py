"""A recording as a live source: its accesses, replayed at the pace at which they were recorded.

It lets you try the service, its clients and the policies where the kernel cannot see accesses. The recorded address
space 0 stands for the first watched program, 1 for the second, and so on. Addresses are the recorded ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pghot.engine.accesses import Mechanism, Sees
from pghot.errors import UsageError
from pghot.kernel.needs import Need
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import SetKnob, Watched
from pghot.live.sources.access_source import Sightings
from pghot.units import PAGE_BYTES


class Replay:
    """Options: file  the recording; loop  start again when it ends."""

    name = "replay"
    summary = "a recording at its own pace: --set replay.file=FILE"
    mechanism: Mechanism = None
    inline = False
    released = True
    weight = 1
    sees: Sees = "any"
    sees_hugetlb = True
    only_reads = True

    def __init__(self, root: SysRoot, file: str = "", loop: bool = False) -> None:
        self._file, self._loop = file, loop
        self._watched = Watched(())
        self._slices: Iterator[tuple[int, Sightings]] = iter(())
        self._next: tuple[int, Sightings] | None = None
        self._began_ms = -1
        self._counts = {"replay_slices": 0}

    def needs(self) -> list[Need]:
        if self._file:
            return [Need(f"recording {self._file}")]
        return [Need("a recording", "yes", "", "name one: --set replay.file=FILE")]

    def start(self, watched: Watched, set_knob: SetKnob) -> None:
        if not self._file:
            raise UsageError("replay: no recording named", "give --set replay.file=FILE")
        self.watch(watched)
        self._slices = self._read()
        self._next = next(self._slices, None)

    def watch(self, watched: Watched) -> None:
        self._watched = watched

    def poll(self, now_ms: int) -> Sequence[Sightings]:
        if self._began_ms < 0:
            self._began_ms = now_ms
        found = []
        while self._next is not None and self._next[0] <= now_ms - self._began_ms:
            found.append(self._next[1])
            self._counts["replay_slices"] += 1
            self._next = next(self._slices, None)
        if self._next is None and self._loop:
            self._began_ms, self._slices = now_ms, self._read()
            self._next = next(self._slices, None)
        return found

    def _read(self) -> Iterator[tuple[int, Sightings]]:
        """For each slice when it is due, in ms of virtual time, and its accesses."""
        from pghot.recording.reader import open_recording

        recording = open_recording(self._file)
        page_bytes = recording.info.page_bytes
        start = np.zeros(recording.pages, np.uint64)
        space = np.zeros(recording.pages, np.int64)
        for region in recording.regions:
            held = slice(region.first_page, region.first_page + region.pages)
            offset = np.arange(region.pages, dtype=np.uint64) * np.uint64(page_bytes)
            start[held] = np.uint64(region.start_address) + offset
            space[held] = region.space
        for batch in recording.batches():
            for i in range(batch.slices):
                rows = slice(batch.offsets[i], batch.offsets[i + 1])
                page = batch.page[rows]
                pids = np.array([*self._watched.pids, 0], np.int32)
                pid = pids[np.minimum(space[page], len(pids) - 1)]
                write = batch.writes[rows] > 0
                seen = Sightings(pid, start[page], batch.touches[rows], batch.node[rows], write)
                yield int(batch.start_ns[i]) // 1_000_000, seen

    def set_effort(self, share: float) -> None:
        """Does nothing: replaying costs nothing that could be saved."""

    def sampling(self) -> str:
        return f"{self._file}, as recorded (pages of {PAGE_BYTES} bytes)"

    def counters(self) -> dict[str, int]:
        return dict(self._counts)

    def stop(self) -> None:
        self._slices, self._next = iter(()), None
