"""How fast what the kernel and the hardware write into rings becomes arrays.

Rings of 8 MiB, byte-exact as the kernel, an Arm CPU or a CXL device's driver would fill them, are decoded through the
functions that the live sources call. Beside them, in the same run, a bare pass that reads the same bytes once and
adds them up. CPU seconds of alternating runs.

The bar is on the perf ring: a sample as `ibs` and `pebs` ask for it (thread, address, CPU, data source: 40 bytes). The
others have no bar.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from pghot.arrays import U8, U64
from pghot.kernel import perf_event as pe
from pghot.kernel.hotlist import HotList
from pghot.kernel.hotlist_decode import decode_hotlist
from pghot.kernel.perf_decode import decode_samples
from pghot.kernel.perf_records import Samples, words_of
from pghot.kernel.spe_decode import decode_records
from pghot.kernel.spe_packets import Records

RING_BYTES = 1 << 23
SAMPLE = pe.SAMPLE_TID | pe.SAMPLE_ADDR | pe.SAMPLE_CPU | pe.SAMPLE_DATA_SRC
RUNS = 9
BAR_MILLION_PER_S = 5.0


@njit(cache=True)
def read_bare(ring: U64) -> np.uint64:
    """The yardstick: every word of the ring, once."""
    total = np.uint64(0)
    for i in range(ring.shape[0]):
        total += ring[i]
    return total


def ring_filled_with(records: list[bytes]) -> tuple[U8, int, int]:
    """(ring, bytes used, records) with these records over and over."""
    data = b"".join(records)
    turns = RING_BYTES // len(data)
    ring = np.zeros(RING_BYTES, np.uint8)
    ring[: turns * len(data)] = np.tile(np.frombuffer(data, np.uint8), turns)
    return ring, turns * len(data), turns * len(records)


def perf_samples() -> list[bytes]:
    """1000 samples of changing addresses."""
    header = struct.pack("<IHH", 9, 0, 40)
    return [
        header + struct.pack("<IIQQQ", 77, 78, 0x7F0000000000 + 4096 * i, i % 8, 0x1A00000142)
        for i in range(1000)
    ]


def spe_records() -> list[bytes]:
    """1000 records of instruction, kind, events, latency, virtual and physical address, end: 39 bytes."""
    return [
        b"\xb0" + struct.pack("<Q", 0x400000 + i) + b"\x49\x00" + b"\x52\x00\x02" + b"\x98\x2c\x01"
        + b"\xb2" + struct.pack("<Q", 0x7F0000000000 + 4096 * i) + b"\xb3" + struct.pack("<Q", 1 << 63 | 4096 * i)
        + b"\x01"
        for i in range(1000)
    ]  # fmt: skip


def hot_list() -> list[bytes]:
    """A hot list of 1000 entries, the block's header before the first."""
    entries = [struct.pack("<Q", i << 16 | 100) for i in range(1000)]
    return [struct.pack("<QQ", 1000 | 16 << 16, 0xDEADBEEF) + entries[0], *entries[1:]]


def passes() -> dict[str, tuple[Callable[[], int], Callable[[], Any], int]]:
    """name -> (decode the whole ring, the bare pass, how many samples there are)."""
    perf, perf_used, perf_count = ring_filled_with(perf_samples())
    arm, arm_used, arm_count = ring_filled_with(spe_records())
    cxl, cxl_used, cxl_count = ring_filled_with(hot_list())
    words = words_of(SAMPLE)
    # One array of the batch size of the sources, filled again and again.
    samples, records, entries = Samples.sized(1 << 14), Records.sized(1 << 14), HotList.sized(1 << 16)

    def whole(decode: Callable[[int], int], counts: npt.NDArray[np.int64], used: int) -> Callable[[], int]:
        def run_once() -> int:
            tail, found = 0, 0
            while tail < used:
                found += decode(tail)
                tail = int(counts[0])
            return found

        return run_once

    return {
        "perf": (
            whole(
                lambda tail: decode_samples(perf, tail, perf_used, words, samples), samples.counts, perf_used
            ),
            lambda: read_bare(perf.view(np.uint64)),
            perf_count,
        ),
        "spe": (
            whole(lambda tail: decode_records(arm, tail, arm_used, records), records.counts, arm_used),
            lambda: read_bare(arm.view(np.uint64)),
            arm_count,
        ),
        "chmu": (
            whole(lambda tail: decode_hotlist(cxl, tail, cxl_used, entries), entries.counts, cxl_used),
            lambda: read_bare(cxl.view(np.uint64)),
            cxl_count,
        ),
    }


def cpu_seconds(work: Callable[[], Any]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def run() -> dict[str, dict[str, Any]]:
    """`{name: {value, bar, ok, unit, spread, of_a_bare_pass}}`: samples decoded a second.

    spread is (max - min) / median of the rates; of_a_bare_pass the share of the bare pass's speed.
    """
    results = {}
    for name, (decode, bare, count) in passes().items():
        found = decode()
        if found != count:
            raise RuntimeError(f"{name}: {found} samples instead of {count}")
        bare()
        pairs = [(cpu_seconds(decode), cpu_seconds(bare)) for _ in range(RUNS)]
        rates = [count / own / 1e6 for own, _ in pairs]
        bar = BAR_MILLION_PER_S if name == "perf" else None
        results[f"ring_decoding_{name}"] = {
            "value": round(median(rates), 1),
            "bar": bar,
            "ok": bar is None or median(rates) >= bar,
            "unit": "million samples/s",
            "spread": round((max(rates) - min(rates)) / median(rates), 3),
            "of_a_bare_pass": round(median(other for _, other in pairs) / median(own for own, _ in pairs), 3),
        }
    return results


if __name__ == "__main__":
    for name, result in run().items():
        print(name, *(f"{key}={value}" for key, value in result.items()))
