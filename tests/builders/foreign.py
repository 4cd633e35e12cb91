"""Files of other tools, written at the level of their structures, independently of the importers."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pghot.recording.batches import concatenate
from pghot.recording.reader import Recording, open_recording
from pghot.recording.trace import SliceBatch


def oracle_general(requests: Sequence[tuple[int, int, int, int]]) -> bytes:
    """Of (clock in s, object, bytes, next request)."""
    return b"".join(struct.pack("<IQIq", *request) for request in requests)


def vscsi(version: int, requests: Sequence[tuple[int, int, int, int]]) -> bytes:
    """Of (time in us, SCSI command, block, bytes)."""
    records = []
    for serial, (time_us, command, block, size) in enumerate(requests):
        if version == 1:
            records.append(struct.pack("<IIIHHQQ", serial, size, 1, command, version << 8, block, time_us))
        else:
            records.append(
                struct.pack("<HHIIIQQQ", command, version << 8, serial, size, 1, block, time_us, 7)
            )
    return b"".join(records)


def drmemtrace(entries: Sequence[tuple[int, int, int]], version: int = 4) -> bytes:
    """Of (type, size, value), between a header and a footer."""
    return b"".join(struct.pack("<HHQ", *entry) for entry in [(25, 0, version), *entries, (26, 0, 0)])


def champsim(instructions: Sequence[tuple[int, Sequence[int], Sequence[int]]]) -> bytes:
    """Of (ip, up to 2 stores, up to 4 loads)."""
    records = []
    for ip, stores, loads in instructions:
        places = [*stores, *[0] * (2 - len(stores)), *loads, *[0] * (4 - len(loads))]
        records.append(struct.pack("<Q8B6Q", ip, 0, 0, 1, 0, 2, 0, 0, 0, *places))
    return b"".join(records)


def damo_records(
    records: Sequence[Sequence[tuple[int, Sequence[tuple[int, int, int]]]]],
) -> list[dict[str, Any]]:
    """As damo writes them: of each target (time in ns, regions of (start, end, samples)) of each snapshot."""
    return [
        {
            "kdamond_idx": 0,
            "intervals": {"sample_us": "5000", "aggr_us": "100000"},
            "target_id": (1 << 64) - 1 - number,
            "snapshots": [
                {
                    "start_time": str(time_ns),
                    "end_time": str(time_ns + 100_000_000),
                    "regions": [
                        {
                            "start": f"{start:,}",
                            "end": f"{end:,}",
                            "nr_accesses": {"samples": samples, "percent": None},
                            "age": {"usec": None, "aggr_intervals": "3"},
                        }
                        for start, end, samples in regions
                    ],
                }
                for time_ns, regions in snapshots
            ],
        }
        for number, snapshots in enumerate(records)
    ]


def rows_of(recording: Recording) -> list[tuple[int, int, int, int, int]]:
    """(start of the slice in ns, page, touches, misses, writes) of each row."""
    batch = whole(recording)
    start = np.repeat(batch.start_ns, np.diff(batch.offsets))
    columns = (start, batch.page, batch.touches, batch.misses, batch.writes)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def whole(recording: Recording) -> SliceBatch:
    """All slices as one batch."""
    return concatenate(list(recording.batches()), len(recording.info.cache_bytes))


def imported(path: Path) -> Recording:
    """The file as a recording beside it, checked."""
    from pghot.recording.convert import convert

    target = path.with_name(f"{path.name}.pghot")
    convert(path, target, force=True)
    return open_recording(target, verify=True)
