"""Slow, plain versions of the kernels of `pghot.live.machine.object_rows`."""

from __future__ import annotations

from pghot.arrays import I64, U64


def find_rows_reference(first: U64, last: U64, space: I64, address: U64, row: I64) -> None:
    """`find_rows` by looking at every range."""
    ranges = list(zip(first.tolist(), last.tolist(), strict=True))
    for i, (number, where) in enumerate(zip(space.tolist(), address.tolist(), strict=True)):
        vpn = where >> 12
        inside = [at for at, (begin, end) in enumerate(ranges) if begin <= number << 45 | vpn < end]
        row[i] = inside[0] if inside and vpn < 1 << 45 else -1
