"""How kernels are compiled: by Numba, for calls from Python and from each other alone.

Numba can give each kernel an entry for C programs too. Nobody calls those, and they are a sixth of the time that
compiling takes (eight policies of `pghot compare`: 13.4 s without them, 15.8 s with them; one process, one busy run).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


njit = partial(numba.njit, no_cfunc_wrapper=True)


def kernel(function: F) -> F:
    """`njit(cache=True)` without reference counts, for kernels that hand their arrays to others and make none.

    Reference counts are atomic, and Numba often cannot tell that they cancel out. With the adversary's state of twenty
    arrays they cost more in each call than the work itself: 0.2 M against 4 M steps/s. Of the 69 ns that a sample of
    perf took they were 58. Such kernels allocate nothing, so nothing needs counting. The option is not public. A Numba
    without it compiles the slow version.
    """
    return _compiled(function)


def inlined_kernel(function: F) -> F:
    """A `kernel` that becomes part of those that call it, for what each step of a loop goes through."""
    return _compiled(function, forceinline=True)


def _compiled(function: F, **options: bool) -> F:
    compiler: Any = njit
    try:
        compiled = compiler(cache=True, _nrt=False, **options)(function)
    except (KeyError, TypeError):
        compiled = compiler(cache=True, **options)(function)
    return cast(F, compiled)
