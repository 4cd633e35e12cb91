"""Who watches where the pages of a simulated machine go: the log of decisions (`pghot.decision_log`)."""

from __future__ import annotations

from typing import Protocol

from pghot.arrays import U8, U32


class Watcher(Protocol):
    """Hears of every change of a page's node, in order. `page` holds distinct pages."""

    def placed(self, page: U32, place: U8) -> None:
        """These pages were touched for the first time. place: uint8[K], their node; 255: there was no room."""

    def moved(self, page: U32, source: U8, target: int, payer: str) -> None:
        """The pages go from the nodes `source` (uint8[K]) to `target`; `payer` as in `SimulatedMachine.migrate`."""

    def freed(self, page: U32, source: U8) -> None:
        """The program that owned the pages is gone."""
