"""Slow, plain versions of the kernels of `pghot.engine.kmigrated`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pghot.arrays import U8, U32
from pghot.engine.kmigrated import SECTION_PAGES


def take_ready_reference(records: npt.NDArray[Any], hot: U8, ready: int) -> tuple[U32, npt.NDArray[Any]]:
    """`take_ready` in plain NumPy."""
    walked = np.repeat(hot, SECTION_PAGES)[: len(records)] != 0
    page = np.flatnonzero(walked & ((records & ready) != 0)).astype(np.uint32)
    record = records[page].copy()
    records[page] = 0
    hot[:] = 0
    return page, record
