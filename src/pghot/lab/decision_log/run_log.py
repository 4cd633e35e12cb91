"""The log of one run: what its policy decides and where its pages go, written to a file of its own as it grows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pghot.arrays import I32, NOWHERE, U8, U32
from pghot.decision_log import episodes
from pghot.decision_log.episode_log import EpisodeLog
from pghot.decision_log.row_format import COLUMNS, to_arrow
from pghot.engine.accesses import Accesses
from pghot.errors import not_written
from pghot.policies.decisions import DecisionCounts, HeldBack, Moved
from pghot.sim.machine.simulated import SimulatedMachine

RUN_KEY = b"pghot.run"  # in the schema of a run's own file: its facts as JSON


class RunLog(EpisodeLog):
    """Takes the place of a run's `Decisions`, and watches its machine.

    heat  what the policy has counted of pages, see `policies.policy.TellsHeat`; None: it does not say
    """

    def __init__(
        self,
        path: Path,
        run: str,
        machine: SimulatedMachine,
        sources: int,
        heat: Callable[[U32], I32] | None = None,
    ) -> None:
        super().__init__(episodes.new_state(machine.pages), sources, machine.rank, heat)
        self._path, self._run, self._machine = path, run, machine
        self._counts = DecisionCounts(machine.group_pages)
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
        self.note_seen(source, accesses.page, accesses.count)

    # ---- the policy: see `Decisions`

    def move(self, page: U32, why: Moved) -> None:
        self.note_asked(page, why, self._heat_of(page))

    def hold(self, page: U32, why: HeldBack) -> None:
        self._counts.hold(page, why)
        self.note_held(page, why, self._heat_of(page))

    def rest(self, why: HeldBack) -> None:
        self._counts.rest(why)
        self.note_rest(why)

    def held_back(self) -> dict[str, int]:
        return self._counts.held_back()

    # ---- the machine: see `Watcher`

    def placed(self, page: U32, place: U8) -> None:
        self.note_placed(page, place)

    def moved(self, page: U32, source: U8, target: int, payer: str) -> None:
        self.note_moved(page, source, target, payer)

    def freed(self, page: U32, source: U8) -> None:
        self.note_moved(page, source, NOWHERE, "")

    # ---- the file

    def close(self, facts: dict[str, Any]) -> None:
        """Write what is left. facts: what the log says of the run."""
        self.note_end(self._machine.pages)
        try:
            writer = self._writer()
            writer.add_key_value_metadata({RUN_KEY: json.dumps({**facts, "lasts_ms": self._now_ms}).encode()})
            writer.close()
        except OSError as error:
            raise not_written("the log", error) from None

    def _writer(self) -> pq.ParquetWriter:
        if self._parts is None:
            self._parts = pq.ParquetWriter(self._path, COLUMNS, compression="zstd")
        return self._parts

    def _put(self, rows: np.ndarray, seen: U32, movers: list[str]) -> None:
        try:
            self._writer().write_table(to_arrow(self._run, rows, seen, movers))
        except OSError as error:
            raise not_written("the log", error) from None
