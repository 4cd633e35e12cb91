"""Names for the arrays that pghot passes around, by dtype, and the node number that means "on no node"."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

# An int64 inside a compiled kernel: NumPy's scalar types and Python's int do not mix under mypy.
Int: TypeAlias = Any

NOWHERE = 255  # as a page's node: never touched, not present, or not asked for yet
