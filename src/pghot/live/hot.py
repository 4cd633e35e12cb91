"""The ranked hot pages and regions: what `pghot hot` and the consumers of the socket get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, NOWHERE, U32
from pghot.live.machine.runs import runs
from pghot.live.machine.spaces import Spaces
from pghot.units import PAGE_BYTES

By = Literal["page", "region"]


class HotRow(TypedDict):
    pid: int
    address: int
    bytes: int
    node: int
    heat: int


class HotFacts(TypedDict):
    """The shape of the document `pghot.hot/1`; rows hottest first.

    nothing_seen  without rows: why no access was ever seen; empty when the last one was too long ago
    """

    schema: str
    by: By
    hot: list[HotRow]
    nothing_seen: list[str]


@dataclass(frozen=True, slots=True)
class Hottest:
    """Pages or regions, hottest first.

    pid      int32[K]   of a file's page: of the program that was seen to touch it last
    address  uint64[K]  of the first page, bytes
    pages    uint32[K]  1, or how long the region is
    node     int16[K]   node of the first page, -1 when it is not known
    heat     uint32[K]  accesses seen, halved every 2 s; of a region the sum over its pages
    """

    pid: npt.NDArray[np.int32]
    address: npt.NDArray[np.uint64]
    pages: npt.NDArray[np.uint32]
    node: npt.NDArray[np.int16]
    heat: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.pid)

    def head(self, top: int) -> Hottest:
        """The first `top` of them."""
        return self.part(0, top)

    def part(self, begin: int, end: int) -> Hottest:
        """Those in [begin, end)."""
        these = slice(begin, end)
        return Hottest(
            self.pid[these], self.address[these], self.pages[these], self.node[these], self.heat[these]
        )

    def rows(self) -> list[HotRow]:
        """One object for each row, for JSON."""
        return [
            {"pid": pid, "address": address, "bytes": pages * PAGE_BYTES, "node": node, "heat": heat}
            for pid, address, pages, node, heat in zip(
                self.pid.tolist(), self.address.tolist(), self.pages.tolist(), self.node.tolist(),
                self.heat.tolist(), strict=True,
            )
        ]  # fmt: skip

    def arrow(self) -> bytes:
        """The same as an Arrow IPC stream."""
        import pyarrow as pa

        columns = {
            "pid": self.pid,
            "address": self.address,
            "pages": self.pages,
            "node": self.node,
            "heat": self.heat,
        }
        table = pa.table(columns)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        return bytes(sink.getvalue())


def hottest(spaces: Spaces, top: int, by: By = "region") -> Hottest:
    """The `top` hottest pages, or regions: runs of neighbouring pages that all have some heat, on one node."""
    sections = spaces.table.in_use()
    of_level, highest = spaces.pages.levels(sections)
    # Of single pages, sections that have none of enough heat are not looked at.
    level = enough(of_level, top) if by == "page" else 1
    warm = sections[highest >= level]
    first, length, heat = runs(spaces.pages, warm, spaces.table.keys(warm), 1 << level - 1, by == "region")
    order = hottest_first(heat, top)
    chosen = first[order]
    place = spaces.pages.place[chosen].astype(np.int16)
    pid, address = spaces.seen_at(chosen)
    return Hottest(
        pid,
        address,
        length[order],
        np.where(place == NOWHERE, np.int16(-1), place),
        heat[order],
    )


def enough(of_level: I64, top: int) -> int:
    """The highest level so that `top` pages have it or a higher one; 1 if there are fewer with some heat.

    >>> enough(np.array([90, 50, 20, 5]), 20)
    2
    """
    with_more = np.cumsum(of_level[::-1])[::-1]
    return max(1, int(np.count_nonzero(with_more[1:] >= top)))


def hottest_first(heat: U32, top: int) -> I64:
    """The indices of the `top` largest, equals in order."""
    if top < len(heat):
        least = np.partition(heat, len(heat) - top)[len(heat) - top]
        some = np.flatnonzero(heat >= least)
    else:
        some = np.arange(len(heat))
    return some[np.argsort(-heat[some].astype(np.int64), kind="stable")[:top]]
