"""The quantities of documents, each with the bounds within which pghot computes.

A machine is described by whoever has one, and a digit too many is soon written. Outside of these bounds no memory is,
and a simulation would not end or would divide by nothing.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from pghot.errors import UsageError
from pghot.parameters import MOST_NS
from pghot.units import PAGE_BYTES, parse_size


def _size(value: Any) -> int:
    try:
        return parse_size(value)
    except UsageError as error:
        raise ValueError(f"{error}; {error.hint}") from None


def _memory(value: Any) -> int:
    size = _size(value)
    if 0 < size < PAGE_BYTES:
        if str(value).strip().isdecimal():
            raise ValueError(f"{size} bytes? write {size}GiB")
        raise ValueError(f"'{value}' is less than a page of 4 KiB")
    return size


# Bytes, from a number or a text such as "64 MiB".
Size = Annotated[int, BeforeValidator(_size)]
# The same of memory: a page at least, so that a unit left out is noticed. 0 stands for none, where that may be.
MemorySize = Annotated[int, BeforeValidator(_memory)]
# Of an access: caches take nanoseconds, a page from storage far less than a millisecond.
LatencyNs = Annotated[float, Field(ge=0.1, le=1e6)]
# What one event costs: nothing, or up to a second.
CostNs = Annotated[float, Field(ge=0, le=MOST_NS)]
# 10**9 bytes/s, of memory, a link or a copy.
RateGbS = Annotated[float, Field(ge=1e-3, le=1e6)]
# Cores and threads; the kernel numbers no more than 8192 (NR_CPUS).
Cores = Annotated[int, Field(ge=0, le=1 << 16)]
# Cache misses that one core, or a load on the memory, keeps in flight.
LinesInFlight = Annotated[float, Field(ge=1e-3, le=1e5)]
