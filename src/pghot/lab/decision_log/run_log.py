"""The log of one run: what its policy decides and where its pages go, written to a file of its own as it grows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pghot.arrays import I32, NOWHERE, U8, U32
from pghot.engine.accesses import Accesses
from pghot.errors import not_written
from pghot.lab.decision_log import episodes
from pghot.lab.decision_log.row_format import (
    COLUMNS,
    NEVER,
    NOT_TOLD,
    RESTED,
    ROW,
    WHYS,
    to_arrow,
)
from pghot.policies.decisions import DecisionCounts, HeldBack, Moved
from pghot.sim.machine.simulated import SimulatedMachine

ROWS = 1 << 16  # that are kept in memory
RUN_KEY = b"pghot.run"  # in the schema of a run's own file: its facts as JSON
_NO_HEAT: I32 = np.empty(0, np.int32)


class RunLog:
    """Takes the place of a run's `Decisions`, and watches its machine.

    heat  what the policy has counted of pages, see `policies.policy.Counts`; None: it does not say
    """

    def __init__(
        self,
        path: Path,
        run: str,
        machine: SimulatedMachine,
        sources: int,
        heat: Callable[[U32], I32] | None = None,
    ) -> None:
        self._path, self._run, self._machine, self._heat = path, run, machine, heat
        self._counts = DecisionCounts(machine.group_pages)
        self._state = episodes.new_state(machine.pages)
        self._seen = np.zeros((2, machine.pages, sources), np.uint32)
        self._rows, self._rows_seen = np.zeros(ROWS, ROW), np.zeros((ROWS, sources), np.uint32)
        self._at = 0
        self._rest: HeldBack | None = None
        self._rest_ms = [0, 0, 0]  # the first round of it, the last, how many
        self._movers = [""]
        self._parts: pq.ParquetWriter | None = None

    @property
    def _now_ms(self) -> int:
        return int(self._machine.now_ns * self._machine.group_pages / 1e6)

    # ---- the program and the sources

    def used(self, page: U32, touches: U32, misses: U32) -> None:
        """The program ran a slice."""
        episodes.note_used(page, touches, misses, self._state)

    def sighted(self, source: int, accesses: Accesses) -> None:
        """A source, by its number in the run, reported accesses."""
        episodes.note_seen(accesses.page, accesses.count, source, self._now_ms, self._state, self._seen)

    # ---- the policy: see `Decisions`

    def move(self, page: U32, why: Moved) -> None:
        episodes.note_asked(page, WHYS.index(why), self._heat_of(page), self._state)

    def hold(self, page: U32, why: HeldBack) -> None:
        self._counts.hold(page, why)
        heat = self._heat_of(page)
        for part in self._fitting(len(page)):
            self._at = episodes.note_held(
                page[part], WHYS.index(why), heat[part], self._now_ms, *self._arrays(), self._at
            )

    def rest(self, why: HeldBack) -> None:
        self._counts.rest(why)
        now_ms = self._now_ms
        if why != self._rest:
            self._end_rest()
            self._rest, self._rest_ms = why, [now_ms, now_ms, 0]
        self._rest_ms[1] = now_ms
        self._rest_ms[2] += 1

    def held_back(self) -> dict[str, int]:
        return self._counts.held_back()

    # ---- the machine: see `Watcher`

    def placed(self, page: U32, place: U8) -> None:
        for part in self._fitting(len(page)):
            self._at = episodes.note_placed(page[part], place[part], self._now_ms, *self._arrays(), self._at)

    def moved(self, page: U32, source: U8, target: int, payer: str) -> None:
        self._note_moved(page, source, target, payer)

    def freed(self, page: U32, source: U8) -> None:
        self._note_moved(page, source, NOWHERE, "")

    def _note_moved(self, page: U32, source: U8, target: int, payer: str) -> None:
        if payer not in self._movers:
            self._movers.append(payer)
        by, rank = self._movers.index(payer), self._machine.rank
        for part in self._fitting(len(page)):
            self._at = episodes.note_moved(
                page[part], source[part], target, by, rank, self._now_ms, *self._arrays(), self._at
            )

    # ---- the file

    def close(self, facts: dict[str, Any]) -> None:
        """Write what is left. facts: what the log says of the run."""
        self._end_rest()
        for part in self._fitting(self._machine.pages):
            self._at = episodes.note_end(part.start, part.stop, self._now_ms, *self._arrays(), self._at)
        self._write()
        try:
            writer = self._writer()
            writer.add_key_value_metadata({RUN_KEY: json.dumps({**facts, "lasts_ms": self._now_ms}).encode()})
            writer.close()
        except OSError as error:
            raise not_written("the log", error) from None

    def _arrays(self) -> tuple[Any, U32, Any, U32]:
        return self._state, self._seen, self._rows, self._rows_seen

    def _heat_of(self, page: U32) -> I32:
        return _NO_HEAT if self._heat is None or not len(page) else self._heat(page)

    def _fitting(self, count: int) -> Iterator[slice]:
        """Parts of a batch, each with room for all the rows that it can end."""
        begin = 0
        while begin < count:
            room = (ROWS - self._at) // episodes.MOST_ROWS
            if room == 0:
                self._write()
                continue
            end = min(count, begin + room)
            yield slice(begin, end)
            begin = end

    def _end_rest(self) -> None:
        if self._rest is None:
            return
        if self._at == ROWS:
            self._write()
        row = self._rows[self._at]
        row["page"] = row["seen_ms"] = NEVER
        row["what"], row["why"], row["heat"] = RESTED, WHYS.index(self._rest), NOT_TOLD
        row["first_ms"], row["last_ms"], row["times"] = self._rest_ms
        row["touches"] = row["misses"] = row["by"] = 0
        row["source"] = row["target"] = NOWHERE
        self._rows_seen[self._at] = 0
        self._at += 1
        self._rest = None

    def _writer(self) -> pq.ParquetWriter:
        if self._parts is None:
            self._parts = pq.ParquetWriter(self._path, COLUMNS, compression="zstd")
        return self._parts

    def _write(self) -> None:
        if self._at:
            rows, seen = self._rows[: self._at], self._rows_seen[: self._at]
            try:
                self._writer().write_table(to_arrow(self._run, rows, seen, self._movers))
            except OSError as error:
                raise not_written("the log", error) from None
            self._at = 0
