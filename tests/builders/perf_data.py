"""perf.data at the level of its structures (perf_event.h, perf.data-file-format.txt), independently of the importer."""

from __future__ import annotations

import struct
from collections.abc import Sequence

IP, TID, TIME, ADDR, READ, CALLCHAIN, ID, CPU, PERIOD = (1 << bit for bit in range(9))
RAW, BRANCH_STACK, REGS_USER, STACK_USER, WEIGHT, DATA_SRC, IDENTIFIER = (1 << bit for bit in range(10, 17))
REGS_INTR, PHYS_ADDR = 1 << 18, 1 << 19
USER, GUEST_USER = 2, 5

# perf_mem_data_src: op load 2, store 4; level L1 hit, local RAM hit, not available.
LOAD_L1, LOAD_RAM, STORE_RAM, LOAD_NO_LEVEL, NO_OP = (
    0x2 | 0x0A << 5, 0x2 | 0x82 << 5, 0x4 | 0x82 << 5, 0x2 | 0x01 << 5, 0x1,
)  # fmt: skip
MEMORY = IP | TID | TIME | ADDR | CPU | PERIOD | WEIGHT | DATA_SRC | PHYS_ADDR

DAMON_FORMAT = b"""name: damon_aggregated
ID: 777
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:unsigned long target_id;\toffset:8;\tsize:8;\tsigned:0;
\tfield:unsigned int nr_regions;\toffset:16;\tsize:4;\tsigned:0;
\tfield:unsigned long start;\toffset:24;\tsize:8;\tsigned:0;
\tfield:unsigned long end;\toffset:32;\tsize:8;\tsigned:0;
\tfield:unsigned int nr_accesses;\toffset:40;\tsize:4;\tsigned:0;

print fmt: "target_id=%lu"
"""


def attr(
    sample_type: int = MEMORY,
    kind: int = 4,
    config: int = 0x1CD,
    period: int = 0,
    read_format: int = 0,
    branch: int = 0,
    user_regs: int = 0,
) -> bytes:
    """A perf_event_attr of 128 bytes, as of Linux 5.13 to 6.5."""
    return struct.pack(
        "<IIQQQQQIIQQQQIiQIHHIIQ", kind, 128, config, period, sample_type, read_format, 0, 0, 0, 0, 0, branch,
        user_regs, 0, 0, user_regs, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip


def record(kind: int, content: bytes = b"", misc: int = 0) -> bytes:
    content += b"\0" * (-len(content) % 8)
    return struct.pack("<IHH", kind, misc, 8 + len(content)) + content


def sample(*words: int, misc: int = USER) -> bytes:
    return record(9, struct.pack(f"<{len(words)}Q", *words), misc)


def memory(
    time_ns: int, address: int, source: int, period: int = 1, pid: int = 7, ip: int = 0x400000
) -> bytes:
    """A sample of `MEMORY`."""
    return sample(ip, pid | pid << 32, time_ns, address, 0, period, 90, source, address & 0xFFF)


def region(time_ns: int, target: int, start: int, end: int, accesses: int) -> bytes:
    """A sample of damon:damon_aggregated with TID, TIME and RAW."""
    raw = struct.pack("<HHiQIIQQI", 777, 0, 50, target, 9, 0, start, end, accesses)
    return record(9, struct.pack("<QQI", 50, time_ns, len(raw)) + raw)


def perf_data(
    events: Sequence[tuple[bytes, Sequence[int]]], records: Sequence[bytes], tracing: bytes = b""
) -> bytes:
    """A file of (attr, its ids) and records, with tracing data behind them where there are any."""
    data = b"".join(records)
    ids = [struct.pack(f"<{len(own)}Q", *own) for _, own in events]
    attrs_at = 104 + sum(map(len, ids))
    data_at = attrs_at + 144 * len(events)
    head, at = b"", 104
    for (own, _), its in zip(events, ids, strict=True):
        head += own + struct.pack("<QQ", at, len(its))
        at += len(its)
    end = data_at + len(data)
    sections = struct.pack("<QQ", end + 16, len(tracing)) + tracing if tracing else b""
    header = struct.pack(
        "<8s8Q4Q", b"PERFILE2", 104, 144, attrs_at, 144 * len(events), data_at, len(data), 0, 0,
        2 if tracing else 0, 0, 0, 0,
    )  # fmt: skip
    return header + b"".join(ids) + head + data + sections


def piped(events: Sequence[tuple[bytes, Sequence[int]]], records: Sequence[bytes]) -> bytes:
    """The same as `perf record -o -` writes it."""
    attrs = [record(64, own + struct.pack(f"<{len(ids)}Q", *ids)) for own, ids in events]
    return b"".join([struct.pack("<8sQ", b"PERFILE2", 16), *attrs, *records])
