"""The last minutes of the hot regions: how hot a range of addresses was, and on which node."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pghot.live.hot import HotRow

SPAN_S = 300.0
LEAST_S = 0.5  # between two looks that are kept, so that 600 are at most


@dataclass(frozen=True, slots=True)
class Range:
    """Addresses of a program: [begin, end) in bytes."""

    pid: int
    begin: int
    end: int

    def shared(self, row: HotRow) -> int:
        """How many of its bytes a region has."""
        if row["pid"] != self.pid:
            return 0
        return max(0, min(self.end, row["address"] + row["bytes"]) - max(self.begin, row["address"]))


def range_of(row: HotRow) -> Range:
    return Range(row["pid"], row["address"], row["address"] + row["bytes"])


class Look(NamedTuple):
    """A range as one document shows it.

    heat     the heat of the regions in it; of one that is partly in it, that part
    on_node  hot bytes of it on each node
    """

    seconds: float
    heat: float
    on_node: dict[int, int]

    @property
    def node(self) -> int | None:
        """The node that has most of it; None: none of it was hot."""
        return max(self.on_node, key=lambda node: self.on_node[node]) if self.on_node else None


class HotHistory:
    """Keeps `SPAN_S` seconds of the rows of `pghot.hot/1`."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, Sequence[HotRow]]] = deque()

    def add(self, seconds: float, rows: Sequence[HotRow]) -> None:
        """Take the next rows. Those of an earlier time are of another run: all before them are dropped."""
        if self._kept and seconds < self._kept[-1][0]:
            self._kept.clear()
        if self._kept and seconds < self._kept[-1][0] + LEAST_S:
            return
        self._kept.append((seconds, rows))
        while self._kept[0][0] < seconds - SPAN_S:
            self._kept.popleft()

    def life(self, chosen: Range) -> list[Look]:
        """How the range looked in each document, oldest first."""
        return [_look(seconds, rows, chosen) for seconds, rows in self._kept]


def _look(seconds: float, rows: Sequence[HotRow], chosen: Range) -> Look:
    heat, on_node = 0.0, dict[int, int]()
    for row in rows:
        if shared := chosen.shared(row):
            heat += row["heat"] * shared / row["bytes"]
            on_node[row["node"]] = on_node.get(row["node"], 0) + shared
    return Look(seconds, heat, on_node)


def columns(life: Sequence[Look], count: int, span_s: float) -> list[Look | None]:
    """The last look in each of `count` equal parts of the last `span_s`, oldest first; None: nobody looked.

    The parts begin at multiples of their length, so that a column keeps its value as time goes on.
    """
    found: list[Look | None] = [None] * count
    if life:
        step = span_s / count
        last = int(life[-1].seconds // step)
        for look in life:
            place = count - 1 - last + int(look.seconds // step)
            if place >= 0:
                found[place] = look
    return found


def moves(life: Sequence[Look]) -> list[tuple[float, int, int]]:
    """When most of it was on another node than when it was last hot: (seconds, from, to), the newest first."""
    known = [(look.seconds, look.node) for look in life if look.node is not None and look.node >= 0]
    found = [(seconds, before, after) for (_, before), (seconds, after) in pairwise(known) if before != after]
    return found[::-1]
