"""The buffers of a record batch by name, in the order in which Arrow lays them out.

Arrow flattens a schema depth first into *nodes* (one for each array) and *buffers* (validity and data of
each). Writer and reader both speak of buffers by the names listed here, such as `rows.touches_lo`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pghot.recording.format import schema

Buffers = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Buffer:
    """One buffer that carries data (validity buffers are always absent: nothing here is nullable).

    index    position among all buffers of the batch
    node     the array it belongs to
    parent   the array that must be as long: the struct that it is a column of; -1: the batch itself
    offsets  it has one more item than its array: where each list begins, and where the last one ends
    """

    name: str
    index: int
    node: int
    parent: int
    offsets: bool
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """All buffers that carry data, and the numbers of arrays and buffers that a batch has."""

    buffers: tuple[Buffer, ...]
    nodes: int
    buffer_count: int


def _walk(kind: pa.DataType, name: str, parent: int, count: list[int]) -> Iterator[Buffer]:
    """The buffers of one array and its children; `count` is [nodes so far, buffers so far]."""
    node, validity = count
    count[0] += 1
    if pa.types.is_struct(kind):
        count[1] += 1
        for child in kind:
            yield from _walk(child.type, f"{name}.{child.name}", node, count)
    elif pa.types.is_list(kind):
        count[1] += 2
        yield Buffer(f"{name}.offsets", validity + 1, node, parent, True, np.dtype(np.int32))
        yield from _walk(kind.value_type, name, node, count)
    else:
        count[1] += 2
        yield Buffer(name, validity + 1, node, parent, False, np.dtype(kind.to_pandas_dtype()))


@cache
def layout(caches: int, runs: bool = False) -> Layout:
    """The buffers of a recording with such a schema."""
    count = [0, 0]
    found = [
        buffer for column in schema(caches, runs) for buffer in _walk(column.type, column.name, -1, count)
    ]
    return Layout(tuple(found), *count)


def to_record_batch(buffers: Buffers, caches: int, runs: bool = False) -> pa.RecordBatch:
    """The Arrow record batch made of these buffers, without copying them."""
    slices = len(buffers["start_ns"])
    arrays = [_array(column.type, column.name, slices, buffers) for column in schema(caches, runs)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema(caches, runs))


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
    return pa.Array.from_buffers(kind, length, [None, arrow(name)], null_count=0)
