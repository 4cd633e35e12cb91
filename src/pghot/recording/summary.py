"""What a recording holds, as plain data; `pghot report summary` renders it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from pghot.recording.allocations import frames_of
from pghot.recording.hot_ranges import hot_ranges
from pghot.recording.not_known import not_known
from pghot.recording.ratios import describe
from pghot.recording.reader import Recording
from pghot.recording.spans import spans_of
from pghot.recording.totals import Counts, PageTotals, TaskTotals, read_once
from pghot.recording.trace import PATTERNS, MemoryKind, Region

SCHEMA = "pghot.summary/2"

HOT_SHARES = (0.01, 0.05, 0.10, 0.20, 0.50)
TOP_REGIONS = 20
TOP_SITES = 100
TOP_RANGES = 100
_COUNTED = ("pages", "touches", "misses", "writes")


def summarise(recording: Recording) -> dict[str, Any]:
    """Every figure of the summary, JSON-ready. Reads the whole recording once. See `summary_of`."""
    pages, tasks = PageTotals(recording.pages), TaskTotals()
    read_once(recording, pages, tasks)
    return summary_of(recording, pages, tasks)


def summary_of(recording: Recording, totals: PageTotals, by_task: TaskTotals) -> dict[str, Any]:
    """The figures of a recording that was read.

    Sizes are bytes, times nanoseconds, shares fractions of one. `patterns` are None where nobody looked. `hot_set` is
    a list of {"pages": share of the footprint, "misses": share of all misses that its hottest pages take}. `hot_ranges`
    are those of `HotRange`, `not_known` sentences. `sites` is empty where the calls that map memory were not recorded.
    """
    info = recording.info
    touches, misses, writes = totals.touches, totals.misses, totals.writes
    footprint = recording.footprint_pages
    patterns = {
        "sequential": recording.total_sequential,
        "strided": recording.total_strided,
        "dependent": recording.total_dependent,
    }
    return {
        "schema": SCHEMA,
        "name": info.name,
        "path": recording.path,
        "command": list(info.command),
        "source": info.source,
        "kernel": info.kernel,
        "notes": list(info.notes),
        "threads": info.threads,
        "nodes": info.nodes,
        "sampling_period": info.sampling_period,
        "file_bytes": recording.file_bytes,
        "slices": recording.slices,
        "slice_ns": info.slice_ns,
        "duration_ns": recording.duration_ns,
        "rows": recording.rows,
        "touches": recording.total_touches,
        "misses": recording.total_misses,
        "writes": recording.total_writes,
        "page_bytes": info.page_bytes,
        "pages": recording.pages,
        "footprint_pages": footprint,
        "footprint_bytes": footprint * info.page_bytes,
        "llc": {"bytes": info.llc_bytes, "ways": info.llc_ways},
        "caches": [
            {"bytes": size, "misses": misses}
            for size, misses in zip(info.cache_bytes, recording.misses_by_cache, strict=True)
        ],
        "patterns": {name: patterns[name] if name in info.patterns else None for name in PATTERNS},
        "processes": [{"pid": each.pid, "name": each.name} for each in info.processes],
        "tasks": [
            {
                "tid": task.tid,
                "process": task.process,
                "name": task.name,
                "touches": touches,
                "misses": misses,
            }
            for task, (touches, misses) in zip(
                info.tasks, by_task.totals[: len(info.tasks)].tolist(), strict=True
            )
        ],
        "regions": region_totals(recording.regions, touches, misses, writes)[:TOP_REGIONS],
        "sites": site_totals(recording.regions, touches, misses, writes)[:TOP_SITES],
        "hot_set": hot_set(misses[touches > 0]),
        "hot_ranges": [
            asdict(each)
            for each in hot_ranges(
                spans_of(recording.regions, recording.pages), misses, touches, info.page_bytes
            )
        ][:TOP_RANGES],
        "not_known": not_known(recording),
        "compressibility": describe(recording.compressibility),
        "verification": info.verification,
        "doubt": info.doubt,
        "seal": recording.seal,
        "losses": {
            "lost": info.lost,
            "dropped_bytes": recording.dropped_bytes,
            "dropped_slices": recording.dropped_slices,
            "damage": recording.damage,
        },
        "final": {name: fact for name, fact in recording.final.items() if name != "reallocations"},
    }


def region_totals(
    regions: tuple[Region, ...], touches: Counts, misses: Counts, writes: Counts
) -> list[dict[str, Any]]:
    """One entry for each region *name*, most misses first, then most touches; pages count only if touched."""
    entries: dict[str, dict[str, Any]] = {}
    for region in regions:
        span = slice(region.first_page, region.first_page + region.pages)
        entry = entries.setdefault(
            region.name,
            {"name": region.name, "kind": region.kind, "pages": 0, "touches": 0, "misses": 0, "writes": 0},
        )
        entry["pages"] += int(np.count_nonzero(touches[span]))
        entry["touches"] += int(touches[span].sum())
        entry["misses"] += int(misses[span].sum())
        entry["writes"] += int(writes[span].sum())
    return sorted(entries.values(), key=lambda entry: (-entry["misses"], -entry["touches"], entry["name"]))


def site_totals(
    regions: tuple[Region, ...], touches: Counts, misses: Counts, writes: Counts
) -> list[dict[str, Any]]:
    """The same for each site at which memory was mapped, but files: the dynamic linker mapped most of those."""
    mapped = (each for each in regions if each.site and each.kind is not MemoryKind.FILE)
    entries = region_totals(tuple(replace(each, name=each.site) for each in mapped), touches, misses, writes)
    return [
        {"frames": list(frames_of(entry["name"])), **{name: entry[name] for name in _COUNTED}}
        for entry in entries
    ]


def hot_set(misses: Counts) -> list[dict[str, float]]:
    """The share of all misses that the hottest 1, 5, 10, 20 and 50 % of these pages take.

    A share of the pages is rounded up to whole pages. Without misses the shares are 0.
    """
    ordered = np.sort(misses)[::-1]
    total = int(ordered.sum())
    curve = []
    for share in HOT_SHARES:
        hottest = int(ordered[: int(np.ceil(share * len(ordered)))].sum())
        curve.append({"pages": share, "misses": hottest / total if total else 0.0})
    return curve
