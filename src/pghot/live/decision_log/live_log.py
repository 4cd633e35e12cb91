"""The log of a live run: what each source saw of a page, what the policy decided, what move_pages did."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from pghot.arrays import I32, U8, U32
from pghot.decision_log.episode_log import EpisodeLog
from pghot.decision_log.episodes import STATE
from pghot.decision_log.left_out import MOST_SECTIONS, left_out_words
from pghot.decision_log.row_format import NEVER, NOT_TOLD, SCHEMA
from pghot.kernel.sysroot import SysRoot
from pghot.live.decision_log.log_pages import LogPages
from pghot.live.decision_log.rows_file import RowsFile
from pghot.live.machine.linux import LinuxMachine
from pghot.live.machine.sections import SECTION_PAGES
from pghot.live.machine.spaces import Spaces
from pghot.policies.decisions import DecisionCounts, HeldBack, Moved, MoveError
from pghot.recording.header import regions_to_facts
from pghot.units import PAGE_BYTES
from pghot.version import __version__

_NO_PAGE: U32 = np.empty(0, np.uint32)


class LiveLog(EpisodeLog):
    """Takes the place of a run's `Decisions`, and hears of moves from the mover (`Mover.watcher`).

    sources  how many there are; `saw` numbers them
    """

    def __init__(
        self,
        file: RowsFile,
        root: SysRoot,
        spaces: Spaces,
        machine: LinuxMachine,
        sources: int,
        heat: Callable[[U32], I32] | None,
    ) -> None:
        most = MOST_SECTIONS * SECTION_PAGES
        super().__init__(np.zeros(most, STATE), sources, machine.rank, heat)
        self._file, self._machine = file, machine
        self._pages = LogPages(root, spaces)
        self._known = np.zeros(most, np.bool_)  # which pages have a first node in the log
        self._ready = 0  # sections whose part of `_state` is that of `new_state`
        self._began_ns = machine.now_ns
        self._counts = DecisionCounts()
        self._failed, self._failed_ms = _NO_PAGE, -1
        self._ends = False

    @property
    def _now_ms(self) -> int:
        return int(self._machine.now_ns - self._began_ns) // 1_000_000

    def _put(self, rows: np.ndarray, seen: U32, movers: list[str]) -> None:
        self._file.put(rows, seen, movers, wait=self._ends)

    # ---- the sources

    def saw(self, source: int, page: U32, count: U32) -> None:
        """A source, by its number, saw dense pages (uint32[K]) so often (uint32[K]). Where they are is known."""
        own, kept = self._own(page)
        place = self._machine.place[page[kept]]
        first, at = np.unique(own, return_index=True)
        new = ~self._known[first] & (place[at] < len(self._rank))
        self._known[first[new]] = True
        self.note_placed(first[new], place[at][new])
        self.note_seen(source, own, count[kept])

    def forget(self, gone: Iterable[slice]) -> None:
        """These dense pages will be of somebody else."""
        self._pages.forget(gone)

    # ---- the policy: see `Decisions`

    def move(self, page: U32, why: Moved) -> None:
        own, kept = self._own(page)
        self.note_asked(own, why, self._heat_of(page[kept]))

    def hold(self, page: U32, why: HeldBack) -> None:
        """What move_pages just failed to move was told by `failed`, better than a policy can."""
        if self._failed_ms == self._now_ms and len(self._failed):
            page = page[~np.isin(page, self._failed)]
        self._counts.hold(page, why)
        own, kept = self._own(page)
        self.note_held(own, why, self._heat_of(page[kept]))

    def rest(self, why: HeldBack) -> None:
        self._counts.rest(why)
        self.note_rest(why)

    def held_back(self) -> dict[str, int]:
        return self._counts.held_back()

    # ---- the mover: see `MoveWatcher`

    def moved(self, page: U32, source: U8, target: int, by: str) -> None:
        known = source < len(self._rank)  # it may come from nowhere
        own, kept = self._own(page[known])
        self.note_moved(own, source[known][kept], target, by)

    def failed(self, page: U32, error: I32) -> None:
        """move_pages did not move these pages. error: int32[K], an errno each."""
        if self._failed_ms != self._now_ms:
            self._failed, self._failed_ms = _NO_PAGE, self._now_ms
        self._failed = np.concatenate([self._failed, page])
        for number in np.unique(error).tolist():
            own, kept = self._own(page[error == number])
            self.note_held(own, _error(number), self._heat_of(page[error == number][kept]))

    # ---- the end

    def close(self, facts: Mapping[str, Any]) -> list[str]:
        """Write what is left; returns what the log left out, in words. facts: of the run.

        Raises `PghotError` when the file cannot be written; it is removed then.
        """
        self._ends = True
        pages = self._pages.sections * SECTION_PAGES
        self.note_end(pages)
        left_out = {"dropped_rows": self._file.dropped, "unlogged": self._pages.unlogged}
        run = {**facts, "live": True, "lasts_ms": self._now_ms, **left_out}
        self._file.finish(
            {
                "schema": SCHEMA,
                "version": __version__,
                "trace": "a live run",
                "digest": "",
                "nodes": [
                    {"name": f"node {number}", "rank": rank}
                    for number, rank in enumerate(self._rank.tolist())
                ],
                "page_bytes": PAGE_BYTES,
                "pages": pages,
                "group_pages": 1.0,
                "processes": [[each.pid, each.name] for each in self._pages.processes],
                "regions": regions_to_facts(self._pages.regions),
                "runs": [run],
            }
        )
        return left_out_words(left_out)

    def discard(self) -> None:
        """Remove the file after an error."""
        self._file.discard()

    def _own(self, page: U32) -> tuple[U32, Any]:
        own, kept = self._pages.of(page)
        if self._ready < self._pages.sections:
            new = self._state[self._ready * SECTION_PAGES : self._pages.sections * SECTION_PAGES]
            new["seen_ms"] = new["new_seen_ms"] = NEVER
            new["heat"] = new["asked_heat"] = NOT_TOLD
            self._ready = self._pages.sections
        return own, kept


def _error(number: int) -> MoveError:
    name = errno.errorcode.get(number, "")
    return MoveError(name) if name in set(MoveError) else MoveError.OTHER
