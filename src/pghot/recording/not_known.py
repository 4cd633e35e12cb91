"""What a recording does not know, in words: whoever reads its figures should."""

from __future__ import annotations

from pghot.recording.reader import Recording


def not_known(recording: Recording) -> list[str]:
    """Sentences for what was not recorded, estimated or sampled; none for what is exact. An imported recording says
    itself what is so with its time and its writes."""
    info = recording.info
    imported = bool(info.not_known)
    said = list(info.not_known)
    if not recording.total_misses:
        said.append("no cache misses were recorded: heat is touches")
    elif info.measured:
        said.append(f"cache misses are estimates from what a live source ({info.source}) saw")
    elif not info.llc_bytes and recording.total_misses == recording.total_touches:
        said.append("no cache is known: every touch counts as a miss")
    if not recording.total_writes and not imported:
        said.append("no writes were recorded: there were none, or the source does not see them")
    if info.sampling_period > 1:
        said.append(f"one access in {info.sampling_period:,} was seen")
    if info.lost:
        said.append(f"{info.lost:,} accesses or samples were lost")
    if not info.tasks:
        said.append("threads were not told apart")
    if not info.measured and not imported:
        said.append("time is the program's own virtual time, not that of a clock")
    return said
