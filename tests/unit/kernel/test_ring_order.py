"""Each compiled pass over a ring stands between two memory barriers: no machine of x86 would miss one."""

from __future__ import annotations

from importlib import import_module

import pytest
from numba import int64, njit, uint8, uint32, uint64, void

_RINGS = {
    "perf": (uint64[::1], int64, int64, int64[::1], uint64[:, ::1], int64[::1]),
    "spe": (uint8[::1], int64, int64, uint64[:, ::1], int64[::1]),
    "hotlist": (uint64[::1], int64, int64, uint64[:, ::1], int64[::1]),
    "damon": (uint32[::1], int64, int64, int64[:, ::1], uint64[:, ::1], int64[::1]),
}


@pytest.mark.parametrize("name", _RINGS)
def test_a_pass_begins_and_ends_with_a_barrier(name: str) -> None:
    decode = import_module(f"pghot.kernel.{name}_decode").decode
    fresh = njit(decode.py_func)  # of what comes from the cache nothing can be looked at
    fresh.compile(void(*_RINGS[name]))
    (text,) = fresh.inspect_llvm().values()
    assert text.count("fence seq_cst") == 2
