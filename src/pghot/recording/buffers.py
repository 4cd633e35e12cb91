"""The buffers of a record batch by name, in the order in which Arrow lays them out.

Arrow flattens a schema depth first into *nodes* (one for each array) and *buffers* (validity and data of
each). Writer and reader both speak of buffers by the names listed here, such as `rows.touches_0`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pghot.recording.format import SCHEMA

Buffers = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Buffer:
    """One buffer that carries data (validity buffers are always absent: nothing here is nullable).

    index  position among all buffers of the batch
    node   the array it belongs to
    kind   "data": one item for each element; "offsets": one more; "text": as many as the last offset says
    """

    name: str
    index: int
    node: int
    kind: Literal["data", "offsets", "text"]
    dtype: np.dtype[Any]


def _walk(kind: pa.DataType, name: str, count: list[int]) -> Iterator[Buffer]:
    """The buffers of one array and its children; `count` is [nodes so far, buffers so far]."""
    node, validity = count
    count[0] += 1
    int32 = np.dtype(np.int32)
    if pa.types.is_struct(kind):
        count[1] += 1
        for child in kind:
            yield from _walk(child.type, f"{name}.{child.name}", count)
    elif pa.types.is_list(kind):
        count[1] += 2
        yield Buffer(f"{name}.offsets", validity + 1, node, "offsets", int32)
        yield from _walk(kind.value_type, name, count)
    elif pa.types.is_string(kind):
        count[1] += 3
        yield Buffer(f"{name}.offsets", validity + 1, node, "offsets", int32)
        yield Buffer(name, validity + 2, node, "text", np.dtype(np.uint8))
    else:
        count[1] += 2
        yield Buffer(name, validity + 1, node, "data", np.dtype(kind.to_pandas_dtype()))


def _layout() -> tuple[tuple[Buffer, ...], int, int]:
    count = [0, 0]
    found = [buffer for column in SCHEMA for buffer in _walk(column.type, column.name, count)]
    return tuple(found), count[0], count[1]


_LAYOUT = _layout()
BUFFERS: Final = _LAYOUT[0]
NODES: Final = _LAYOUT[1]
BUFFER_COUNT: Final = _LAYOUT[2]

REGION_BUFFERS: Final = tuple(buffer for buffer in BUFFERS if buffer.name.startswith("regions"))
ROW_BUFFERS: Final = tuple(buffer for buffer in BUFFERS if not buffer.name.startswith("regions"))


def to_record_batch(buffers: Buffers) -> pa.RecordBatch:
    """The Arrow record batch made of these buffers, without copying them."""
    slices = len(buffers["start_ns"])
    arrays = [_array(column.type, column.name, slices, buffers) for column in SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _array(kind: pa.DataType, name: str, length: int, buffers: Buffers) -> pa.Array:
    def arrow(buffer: str) -> pa.Buffer:
        return pa.py_buffer(np.ascontiguousarray(buffers[buffer]))

    if pa.types.is_struct(kind):
        children = [_array(child.type, f"{name}.{child.name}", length, buffers) for child in kind]
        return pa.Array.from_buffers(kind, length, [None], null_count=0, children=children)
    if pa.types.is_list(kind):
        items = int(buffers[f"{name}.offsets"][-1])
        child = _array(kind.value_type, name, items, buffers)
        return pa.Array.from_buffers(
            kind, length, [None, arrow(f"{name}.offsets")], null_count=0, children=[child]
        )
    if pa.types.is_string(kind):
        return pa.Array.from_buffers(
            kind, length, [None, arrow(f"{name}.offsets"), arrow(name)], null_count=0
        )
    return pa.Array.from_buffers(kind, length, [None, arrow(name)], null_count=0)
