"""A prefetch instruction for kernels that touch random elements of large arrays.

A load that misses the cache holds up the processor's reorder buffer until it is served. One record update takes
twenty or more instructions, so only a few misses overlap. A prefetch some iterations ahead retires at once.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# Neither numba nor llvmlite ships types for these.
_cgutils: Any = cgutils

# How many iterations ahead the stores prefetch: 16 to 32 measured best in `benchmarks/bench_engine.py`.
AHEAD = 32


def _prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """`prefetch(array, index)`: fetch the cache line of `array[index]` (of a row, its first element).

    The line is fetched for writing. The index is not checked.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_type, index_type = signature.args
        view = context.make_array(array_type)(context, builder, args[0])
        zero = context.get_constant(types.intp, 0)
        indices = [context.cast(builder, args[1], index_type, types.intp)] + [zero] * (array_type.ndim - 1)
        pointer = _cgutils.get_item_pointer(context, builder, array_type, view, indices)
        byte_pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte_pointer, number, number, number])
        function = _cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        # For writing, into all cache levels, data (not instructions).
        how = [ir.Constant(number, value) for value in (1, 3, 1)]
        builder.call(function, [builder.bitcast(pointer, byte_pointer), *how])
        return context.get_dummy_value()

    return types.void(array, index), generate


# Called from kernels with (array, index): the compiler supplies the typing context.
prefetch: Any = intrinsic(_prefetch)
