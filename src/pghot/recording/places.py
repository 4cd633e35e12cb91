"""Where the memory of each row is and whose it is, in words, for tables that other programs read.

All of it follows from the numbers of a row, the region table and the lists of processes and threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pghot.arrays import I64, U16, U32
from pghot.recording.trace import Region, TraceInfo

_WORD: Final = pa.dictionary(pa.int32(), pa.string())
PLACE_SCHEMA: Final = pa.schema(
    [
        ("address", pa.uint64()),
        ("region", _WORD),
        ("kind", _WORD),
        ("site", _WORD),
        ("process_name", _WORD),
        ("thread_name", _WORD),
        ("tid", pa.uint32()),
    ]
)


class Places:
    """Columns of the places of a recording's rows. What is not known is null: the address and region of a page that no
    region has, process and thread where they were not recorded."""

    def __init__(self, info: TraceInfo, regions: Sequence[Region]) -> None:
        self._info = info
        self._regions = sorted(regions, key=lambda region: region.first_page)
        self._has_site = np.array([*(bool(region.site) for region in self._regions), False])
        self._firsts = np.array([region.first_page for region in self._regions], np.int64)
        self._ends = self._firsts + np.array([region.pages for region in self._regions], np.int64)
        self._starts = np.array([region.start_address for region in self._regions], np.uint64)

    def table(self, page: U32, process: U16, thread: U16) -> pa.Table:
        """`PLACE_SCHEMA` for rows with these numbers, one each in every array."""
        region = self._region_of(page)
        tids = np.array([task.tid for task in self._info.tasks], np.uint32)
        columns = [
            self._address(page, region),
            _words([each.name for each in self._regions], region),
            _words([str(each.kind) for each in self._regions], region),
            _words([each.site for each in self._regions], np.where(self._has_site[region], region, -1)),
            _words([each.name for each in self._info.processes], process),
            _words([each.name for each in self._info.tasks], thread),
            _chosen(tids, thread),
        ]
        return pa.Table.from_arrays(columns, schema=PLACE_SCHEMA)

    def _region_of(self, page: U32) -> I64:
        """Position of each page's region, -1 for none."""
        region = np.searchsorted(self._firsts, page, side="right") - 1
        if not len(self._firsts):
            return region
        return np.where((region >= 0) & (page < self._ends[region]), region, -1)

    def _address(self, page: U32, region: I64) -> pa.Array:
        bases = self._starts - self._firsts.astype(np.uint64) * np.uint64(self._info.page_bytes)
        base = _chosen(bases, region)
        offset = page.astype(np.uint64) * np.uint64(self._info.page_bytes)
        return pa.array(base.fill_null(0).to_numpy() + offset, mask=region < 0)


def _chosen(values: npt.NDArray[Any], which: npt.NDArray[np.integer[Any]]) -> pa.Array:
    """The value at each position, null for a position that there is not."""
    unknown = (which < 0) | (which >= len(values))
    if not len(values):
        return pa.nulls(len(which), pa.from_numpy_dtype(values.dtype))
    return pa.array(values[np.where(unknown, 0, which)], mask=unknown)


def _words(names: Sequence[str], which: npt.NDArray[np.integer[Any]]) -> pa.Array:
    """The name at each position, null for a position that there is not; each name once in the dictionary."""
    distinct = list(dict.fromkeys(names))
    number = {name: i for i, name in enumerate(distinct)}
    numbers = _chosen(np.array([number[name] for name in names], np.int32), which)
    return pa.DictionaryArray.from_arrays(numbers, pa.array(distinct, pa.string()))
