"""The ranked hot pages and regions: what `pghot hot` and the consumers of the socket get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt

from pghot.arrays import NOWHERE
from pghot.kernel.maps import MappingKind
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

    pid      int32[K]
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
    state = spaces.pages
    warm = [
        (
            np.flatnonzero((state.heat[held] > 0) & (state.kind[held] == MappingKind.MOVABLE)) + held.start
        ).astype(np.uint32)
        for held in spaces.sections_in_use()
    ]
    page = np.concatenate(warm) if warm else np.empty(0, np.uint32)
    # In the order of `sections_in_use`: by space and address, not by dense page.
    number, address = spaces.table.where(page)
    first = np.arange(len(page)) if by == "page" else _region_starts(number, address, state.place[page])
    length = np.diff(np.concatenate((first, [len(page)]))).astype(np.uint32)
    heat = np.add.reduceat(state.heat[page].astype(np.uint32), first) if len(page) else np.empty(0, np.uint32)
    order = np.argsort(-heat.astype(np.int64), kind="stable")[:top]
    chosen = first[order]
    place = state.place[page[chosen]].astype(np.int16)
    pids = {space.number: space.pid for space in spaces.spaces}
    return Hottest(
        np.array([pids.get(each, 0) for each in number[chosen].tolist()], np.int32),
        address[chosen],
        length[order],
        np.where(place == NOWHERE, np.int16(-1), place),
        heat[order],
    )


def _region_starts(
    number: npt.NDArray[np.int64], address: npt.NDArray[np.uint64], place: npt.NDArray[np.uint8]
) -> npt.NDArray[np.int64]:
    """Index of the first page of each run of pages; pages of one space are side by side, ascending by address."""
    if len(number) == 0:
        return np.empty(0, np.int64)
    breaks = (np.diff(address) != PAGE_BYTES) | (np.diff(number) != 0) | (place[1:] != place[:-1])
    return np.concatenate(([0], np.flatnonzero(breaks) + 1))
