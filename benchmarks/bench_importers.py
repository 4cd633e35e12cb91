"""What importing costs against a bare read of the same bytes, and against the rate at which valgrind prints.

python benchmarks/bench_importers.py

oracleGeneral, drmemtrace and perf.data are uncompressed binary files of `RECORDS` records, made here: requests by a
Zipf law, a sweep over an array between random accesses, and samples by a Zipf law. The bare read is `read` of the
same file into one buffer, block by block. Both are read from the page cache. An import is all of it: numbering, the
model of the cache, slices, the recording.

damo's records are measured in bench_damo.py.

lackey's rate is that of `valgrind --tool=lackey --trace-mem=yes sort` writing to a file, in bytes of text for a second
of its CPU. CPU seconds of alternating runs, the ratio of their medians.
"""

from __future__ import annotations

import json
import resource
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from pghot.recording.importers.drmemtrace import ENTRY
from pghot.recording.importers.importing import import_recording
from pghot.recording.importers.oracle_general import RECORD

RECORDS = 3_000_000
REPEATS = 5
BAR_BARE, BAR_PERF, BAR_VALGRIND = 5.0, 10.0, 5.0
_BLOCK_BYTES = 1 << 20


def run() -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        results = {}
        for format_, make, bar in (
            ("oracleGeneral", oracle_general, BAR_BARE),
            ("drmemtrace", drmemtrace, BAR_BARE),
            ("perf.data", perf_data, BAR_PERF),
        ):
            path = place / f"a.{format_}.trace"
            make().tofile(path)
            results[f"import of {format_} / bare read"] = against_bare(path, bar)
        if shutil.which("valgrind"):
            results["import of lackey / valgrind's printing"] = against_valgrind(place)
        return results


def oracle_general() -> np.ndarray[Any, Any]:
    random = np.random.default_rng(1)
    records = np.zeros(RECORDS, RECORD)
    records["clock_s"] = np.arange(RECORDS) // 1000
    records["obj_id"] = random.zipf(1.2, RECORDS) % (1 << 40)
    records["obj_bytes"], records["next_vtime"] = 4096, -1
    return records


def drmemtrace() -> np.ndarray[Any, Any]:
    """Three instructions, a random access, an access of a sweep."""
    random = np.random.default_rng(1)
    entries = np.zeros(RECORDS, ENTRY)
    entries["type"] = 10
    entries["type"][3::5], entries["type"][4::5] = 0, 1
    entries["value"][3::5] = random.integers(0, 256 << 20, len(entries[3::5]), np.uint64)
    entries["value"][4::5] = (1 << 40) + np.arange(len(entries[4::5])) * 8 % (256 << 20)
    entries[0], entries[-1] = (25, 0, 4), (26, 0, 0)
    return entries


def perf_data() -> np.ndarray[Any, Any]:
    """Samples of 80 bytes as `perf mem record` makes them, 100,000 a second, by a Zipf law of 4 KiB pages; a round
    after every 4,096."""
    random = np.random.default_rng(1)
    samples = np.zeros((RECORDS, 10), np.uint64)
    samples[:, 0] = 9 | 2 << 32 | 80 << 48
    samples[:, 1], samples[:, 2] = 0x400000, 7 | 7 << 32
    samples[:, 3] = np.arange(RECORDS) * 10_000
    samples[:, 4] = (1 << 40) + random.zipf(1.2, RECORDS) % (1 << 20) * 4096
    samples[:, 6], samples[:, 8] = 1000, 0x2 | 0x82 << 5
    data = bytearray()
    for part in np.array_split(samples, RECORDS // 4096 + 1):
        data += part.tobytes() + struct.pack("<IHH", 68, 0, 8)
    types = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 7 | 1 << 8 | 1 << 14 | 1 << 15 | 1 << 19
    attr = struct.pack("<IIQQQ", 4, 128, 0x1CD, 0, types).ljust(128, b"\0") + bytes(16)
    head = struct.pack("<8s12Q", b"PERFILE2", 104, 144, 104, 144, 248, len(data), 0, 0, 0, 0, 0, 0)
    return np.frombuffer(head + attr + bytes(data), np.uint8)


def against_bare(path: Path, bar: float) -> dict[str, Any]:
    target = path.with_suffix(".pghot")
    import_recording(path, target, force=True)  # compiles
    imports, bare = [], []
    for _ in range(REPEATS):
        imports.append(cpu_s(lambda: import_recording(path, target, force=True, level=1)))
        bare.append(cpu_s(lambda: read_bare(path)))
    value = median(imports) / median(bare)
    each_ns = median(imports) / RECORDS * 1e9
    return {
        "value": round(value, 1),
        "bar": bar,
        "ok": value <= bar,
        "unit": "x",
        "ns_per_record": round(each_ns, 1),
        "bare_ns_per_record": round(median(bare) / RECORDS * 1e9, 2),
    }


def against_valgrind(place: Path) -> dict[str, Any]:
    text = place / "sort.lackey"
    lines = place / "lines"
    lines.write_text("".join(f"{i * 7919 % 10_007}\n" for i in range(2000)))
    before = children_s()
    command = ["valgrind", "--tool=lackey", "--trace-mem=yes", f"--log-file={text}", "sort", str(lines)]
    subprocess.run(command, check=True, capture_output=True)
    printing_s = children_s() - before
    target = place / "sort.pghot"
    import_recording(text, target, force=True)
    importing_s = median(cpu_s(lambda: import_recording(text, target, True, level=1)) for _ in range(REPEATS))
    value = printing_s / importing_s
    return {
        "value": round(value, 1),
        "bar": BAR_VALGRIND,
        "ok": value >= BAR_VALGRIND,
        "unit": "x as fast",
        "mb_s": round(text.stat().st_size / importing_s / 1e6, 1),
    }


def read_bare(path: Path) -> int:
    buffer, total = bytearray(_BLOCK_BYTES), 0
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            total += count
    return total


def cpu_s(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
