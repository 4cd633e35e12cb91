"""Memory order at a perf ring, as perf_output_put_handle (kernel/events/ring_buffer.c) asks it of its reader.

The kernel writes records and then the head; who read the head must not have read the records before. The reader reads
the records and then writes the tail; the kernel must not write new ones over those that are not read yet. x86 keeps
that order by itself, Arm does not: each compiled pass over a ring begins and ends with a barrier. The head is read
and the tail written around it, in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from numba import types
from numba.extending import intrinsic


@intrinsic
def _barrier(typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


# A full barrier (smp_mb), for compiled passes only.
barrier = cast(Callable[[], None], _barrier)
