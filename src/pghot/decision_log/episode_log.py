"""What a log of decisions does in both halves: it turns calls into rows, and hands those over when there are many.

It takes the place of a policy's `Decisions`. Where its pages come from and where its rows go, a subclass says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pghot.arrays import I32, I64, NOWHERE, U8, U32
from pghot.decision_log import episodes
from pghot.decision_log.row_format import NEVER, NOT_TOLD, RESTED, ROW, WHYS
from pghot.policies.decisions import HeldBack, Moved, MoveError

ROWS = 1 << 16  # that are kept in memory
_NO_HEAT: I32 = np.empty(0, np.int32)


class EpisodeLog:
    """Rows of the log, from what is told of pages.

    state  STATE[pages], as `episodes.new_state` has it for the pages that are told of
    rank   int64[nodes]  0 = top
    heat   what the policy has counted of pages, see `policies.policy.TellsHeat`; None: it does not say
    """

    def __init__(self, state: Any, sources: int, rank: I64, heat: Callable[[U32], I32] | None = None) -> None:
        self._state, self._rank, self._heat = state, rank, heat
        self._seen = np.zeros((2, len(state), sources), np.uint32)
        self._rows, self._rows_seen = np.zeros(ROWS, ROW), np.zeros((ROWS, sources), np.uint32)
        self._at = 0
        self._rest: HeldBack | None = None
        self._rest_ms = [0, 0, 0]  # the first round of it, the last, how many
        self._movers = [""]

    # ---- what a subclass says

    @property
    def _now_ms(self) -> int:
        """Real milliseconds since the run began."""
        raise NotImplementedError

    def _put(self, rows: np.ndarray, seen: U32, movers: list[str]) -> None:
        """Keep these rows (ROW[K], uint32[K, sources]), which are overwritten later. movers: see `to_arrow`."""
        raise NotImplementedError

    # ---- what is told

    def note_seen(self, source: int, page: U32, count: U32) -> None:
        """A source, by its number in the run, reported pages (uint32[K]) so often (uint32[K])."""
        episodes.note_seen(page, count, source, self._now_ms, self._state, self._seen)

    def note_asked(self, page: U32, why: Moved, heat: I32) -> None:
        """The policy wants pages moved. heat: int32[K], or of length 0."""
        episodes.note_asked(page, WHYS.index(why), heat, self._state)

    def note_held(self, page: U32, why: HeldBack | MoveError, heat: I32) -> None:
        """Pages were left where they are. heat: int32[K], or of length 0."""
        for part in self._fitting(len(page)):
            self._at = episodes.note_held(
                page[part], WHYS.index(why), heat[part], self._now_ms, *self._arrays(), self._at
            )

    def note_placed(self, page: U32, place: U8) -> None:
        """Distinct pages have their first node (uint8[K])."""
        for part in self._fitting(len(page)):
            self._at = episodes.note_placed(page[part], place[part], self._now_ms, *self._arrays(), self._at)

    def note_moved(self, page: U32, source: U8, target: int, mover: str) -> None:
        """Pages went from their nodes (uint8[K]) to another, or were freed (`NOWHERE`)."""
        if mover not in self._movers:
            self._movers.append(mover)
        by = self._movers.index(mover)
        for part in self._fitting(len(page)):
            self._at = episodes.note_moved(
                page[part], source[part], target, by, self._rank, self._now_ms, *self._arrays(), self._at
            )

    def note_rest(self, why: HeldBack) -> None:
        """A whole round moved nothing."""
        now_ms = self._now_ms
        if why != self._rest:
            self._end_rest()
            self._rest, self._rest_ms = why, [now_ms, now_ms, 0]
        self._rest_ms[1] = now_ms
        self._rest_ms[2] += 1

    def note_end(self, pages: int) -> None:
        """The run is over: end the episodes of the first `pages` pages, and put all rows."""
        self._end_rest()
        for part in self._fitting(pages):
            self._at = episodes.note_end(part.start, part.stop, self._now_ms, *self._arrays(), self._at)
        self._put_all()

    # ---- parts

    def _heat_of(self, page: U32) -> I32:
        return _NO_HEAT if self._heat is None or not len(page) else self._heat(page)

    def _arrays(self) -> tuple[Any, U32, Any, U32]:
        return self._state, self._seen, self._rows, self._rows_seen

    def _fitting(self, count: int) -> Iterator[slice]:
        """Parts of a batch, each with room for all the rows that it can end."""
        begin = 0
        while begin < count:
            room = (len(self._rows) - self._at) // episodes.MOST_ROWS
            if room == 0:
                self._put_all()
                continue
            end = min(count, begin + room)
            yield slice(begin, end)
            begin = end

    def _end_rest(self) -> None:
        if self._rest is None:
            return
        if self._at == len(self._rows):
            self._put_all()
        row = self._rows[self._at]
        row["page"] = row["seen_ms"] = NEVER
        row["what"], row["why"], row["heat"] = RESTED, WHYS.index(self._rest), NOT_TOLD
        row["first_ms"], row["last_ms"], row["times"] = self._rest_ms
        row["touches"] = row["misses"] = row["by"] = 0
        row["source"] = row["target"] = NOWHERE
        self._rows_seen[self._at] = 0
        self._at += 1
        self._rest = None

    def _put_all(self) -> None:
        if self._at:
            self._put(self._rows[: self._at], self._rows_seen[: self._at], self._movers)
            self._at = 0
