"""Memory ordering at a perf ring, as perf_output_put_handle (kernel/events/ring_buffer.c) demands of the reader.

The kernel writes records, then the head. The reader must read the head before the records. It then writes the tail, and
must have read the records by then, or the kernel may overwrite them. x86 keeps this order by itself, Arm does not: so
each compiled pass over a ring begins and ends with a barrier. Python reads the head before the pass and writes the
tail after it.
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
