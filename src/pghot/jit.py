"""How kernels are compiled: by Numba, for calls from Python and from each other alone.

Numba can give each kernel an entry for C programs too. Nobody calls those, and they are a sixth of the time that
compiling takes (eight policies of `pghot compare`: 13.4 s without them, 15.8 s with them; one process, one busy run).
"""

from __future__ import annotations

from functools import partial

import numba

njit = partial(numba.njit, no_cfunc_wrapper=True)
