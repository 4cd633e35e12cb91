"""What a recording says of itself: `TraceInfo`, regions, processes and threads as JSON facts, and back.

Nothing read is believed before it was checked: readers divide by these values and allocate from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final

from pghot.recording.format import FORMAT, MAX_CACHES, MAX_PAGES, MAX_REGIONS
from pghot.recording.trace import PATTERNS, MemoryKind, Process, Region, Task, TraceInfo, Verification
from pghot.units import PAGE_BYTES

_LISTS: Final = {
    "command",
    "notes",
    "cache_bytes",
    "patterns",
    "stored_bytes",
    "processes",
    "tasks",
    "not_known",
}
_FIELDS: Final = tuple(each.name for each in fields(TraceInfo))

# Each whole number of the header with the least and the most that it may be.
_BOUNDS: Final = {
    "slice_ns": (1, 1 << 53),
    "threads": (1, 1 << 16),
    "nodes": (1, 1 << 15),
    "page_bytes": (PAGE_BYTES, 1 << 30),
    "sampling_period": (1, 1 << 48),
    "llc_bytes": (0, 1 << 48),
    "llc_ways": (0, 1 << 16),
    "lost": (0, 1 << 63),
}
_MOST_TASKS: Final = 1 << 16
_LATEST_NS: Final = 1 << 62


def info_to_facts(info: TraceInfo) -> dict[str, Any]:
    """What the schema metadata says: the format's version and all of `TraceInfo`."""
    facts = {name: getattr(info, name) for name in _FIELDS}
    return {"format": FORMAT, **facts, **tasks_to_facts(info.processes, info.tasks)}


def tasks_to_facts(processes: Iterable[Process], tasks: Iterable[Task]) -> dict[str, Any]:
    """Processes as [pid, name], threads as [tid, process, name]."""
    return {
        "processes": [(process.pid, process.name) for process in processes],
        "tasks": [(task.tid, task.process, task.name) for task in tasks],
    }


def info_from_facts(facts: Mapping[str, Any]) -> TraceInfo:
    """`TraceInfo` from `info_to_facts`. Unknown keys are ignored, missing ones keep their defaults.

    Raises `ValueError` when a value has the wrong type or cannot be.
    """
    known = {name: facts[name] for name in _FIELDS if name in facts}
    for name in _LISTS & set(known):
        if not isinstance(known[name], list | tuple) and (name, known[name]) != ("stored_bytes", None):
            raise ValueError(f"{name} must be a list")
    try:
        for name in _LISTS & set(known):
            known[name] = None if known[name] is None else tuple(known[name])
        if "processes" in known:
            known["processes"] = tuple(Process(*each) for each in known["processes"])
        if "tasks" in known:
            known["tasks"] = tuple(Task(*each) for each in known["tasks"])
        if known.get("verification") is not None:
            known["verification"] = Verification(known["verification"])
        info = TraceInfo(**known)
    except TypeError as error:
        raise ValueError(str(error)) from None
    _check_numbers(info)
    _check_caches(info)
    _check_words(info)
    _check_tasks(info)
    return info


def with_final_facts(info: TraceInfo, final: Mapping[str, Any]) -> TraceInfo:
    """`info` after the recording: a final fact with a field's name (threads, lost, tasks) replaces it."""
    names = set(_FIELDS) & set(final)
    if not names:
        return info
    return info_from_facts({**info_to_facts(info), **{name: final[name] for name in names}})


def judged(info: TraceInfo, verification: Verification, doubt: str = "") -> TraceInfo:
    """`info` with this verification, unless it was doubted as much already."""
    order = [None, *Verification]
    if order.index(verification) <= order.index(info.verification):
        return info
    return replace(info, verification=verification, doubt=doubt)


def is_count(value: Any, most: int = (1 << 64) - 1) -> bool:
    """Whether a JSON value is a whole number from 0 to `most`; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def is_time_ns(value: Any) -> bool:
    """Whether a JSON value is a virtual time that leaves room to add a slice to."""
    return is_count(value, _LATEST_NS)


def _check_numbers(info: TraceInfo) -> None:
    for name, (least, most) in _BOUNDS.items():
        value = getattr(info, name)
        if not is_count(value, most) or value < least:
            raise ValueError(f"{name} must be a whole number from {least} to {most}")
    if info.page_bytes & (info.page_bytes - 1):
        raise ValueError("page_bytes must be a power of two")
    rates = (info.ns_per_instruction, info.mlp)
    if any(
        isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < 1e6 for rate in rates
    ):
        raise ValueError("ns_per_instruction and mlp must be from 0 to a million")
    stored = info.stored_bytes
    if stored is not None and (len(stored) != 2 or not all(is_count(b, PAGE_BYTES) and b for b in stored)):
        raise ValueError(f"stored_bytes must be two numbers from 1 to {PAGE_BYTES}")


def _check_caches(info: TraceInfo) -> None:
    sizes = info.cache_bytes
    most = _BOUNDS["llc_bytes"][1]
    if not all(is_count(size, most) for size in sizes) or list(sizes) != sorted(set(sizes)):
        raise ValueError("cache_bytes must ascend")
    if not 1 <= len(sizes) <= MAX_CACHES or sizes[0] != info.llc_bytes:
        raise ValueError(f"cache_bytes must have 1 to {MAX_CACHES} caches, llc_bytes the first")


def _check_words(info: TraceInfo) -> None:
    words = (info.name, info.source, info.kernel, info.doubt, *info.command, *info.notes, *info.not_known)
    if any(not isinstance(word, str) for word in words):
        raise ValueError("name, source, kernel, doubt, command, notes and not_known must be text")
    if not isinstance(info.synchronous, bool):
        raise ValueError("synchronous must be true or false")
    if any(name not in PATTERNS for name in info.patterns):
        raise ValueError(f"patterns must be among {', '.join(PATTERNS)}")


def _check_tasks(info: TraceInfo) -> None:
    if max(len(info.processes), len(info.tasks)) > _MOST_TASKS:
        raise ValueError(f"at most {_MOST_TASKS} processes and threads")
    if not all(is_count(each.pid, 1 << 32) and isinstance(each.name, str) for each in info.processes):
        raise ValueError("processes must be numbers and names")
    for task in info.tasks:
        in_table = is_count(task.process) and task.process < len(info.processes)
        if not is_count(task.tid, 1 << 32) or not in_table or not isinstance(task.name, str):
            raise ValueError("tasks must be numbers, their processes and names")


def regions_to_facts(regions: Iterable[Region]) -> list[tuple[int, int, int, int, str, str, str]]:
    """[first_page, pages, space, start_address, name, kind, site] of each."""
    return [(r.first_page, r.pages, r.space, r.start_address, r.name, r.kind, r.site) for r in regions]


def regions_from_facts(listed: Any) -> list[Region]:
    """The regions of `regions_to_facts`. Raises `ValueError` for anything else."""
    if not isinstance(listed, list) or len(listed) > MAX_REGIONS:
        raise ValueError("regions that are no list of them")
    try:
        regions = [
            Region(first, pages, space, start, name, MemoryKind(kind), site)
            for first, pages, space, start, name, kind, site in listed
        ]
    except (TypeError, ValueError):
        raise ValueError("regions that are none") from None
    for region in regions:
        numbers = (region.first_page, region.pages, region.space, region.start_address)
        if (
            not all(map(is_count, numbers))
            or not isinstance(region.name, str)
            or not isinstance(region.site, str)
        ):
            raise ValueError("regions that are none")
    return checked_regions(regions)


def checked_regions(regions: Sequence[Region]) -> list[Region]:
    """The same regions. Raises `ValueError` when one is not a range of a recording's dense pages."""
    for region in regions:
        end = region.first_page + region.pages
        if min(region.first_page, region.pages, region.space, region.start_address) < 0 or end > MAX_PAGES:
            raise ValueError(f"region '{region.name}' is outside the {MAX_PAGES} pages of a recording")
    return list(regions)
