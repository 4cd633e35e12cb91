"""What the headers of a recording tell, in a line and in a short table: nothing of it needs the recording read."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pghot.printable import elided, printable
from pghot.recording.not_known import not_known
from pghot.recording.reader import Recording
from pghot.report.facts import Facts
from pghot.units import counted, format_duration, format_share, format_short_size, format_size

REGION_HEAD = ("region", "touched", "misses", "share", "writes")
_NAME = 48


def in_a_line(recording: Recording) -> str:
    """Its name, how long, how large, and whether it can be believed."""
    held = format_size(recording.footprint_pages * recording.info.page_bytes)
    return (
        f"{printable(recording.info.name)}: {format_duration(recording.duration_ns)} in "
        f"{counted(recording.slices, 'slice')}, footprint {held}, {counted(recording.total_misses, 'miss')}, "
        f"{recording.info.verification}"
    )


def brief(recording: Recording) -> list[tuple[str, str]]:
    """(what, text): the command, sizes and counts, what is not known."""
    info = recording.info
    rows = [
        ("command", shlex.join(info.command)),
        ("recorded by", info.source),
        ("time", f"{format_duration(recording.duration_ns)} in {counted(recording.slices, 'slice')}"),
        ("footprint", format_size(recording.footprint_pages * info.page_bytes)),
        ("touches", f"{recording.total_touches:,}"),
        ("writes", f"{recording.total_writes:,}"),
        *(
            (f"misses of {format_size(size)}" if size else "misses", f"{misses:,}")
            for size, misses in zip(info.cache_bytes, recording.misses_by_cache, strict=True)
        ),
        ("verification", f"{info.verification}{f': {info.doubt}' if info.doubt else ''}"),
        *(("note", note) for note in info.notes),
        *(("not known", text) for text in not_known(recording)),
    ]
    return [(what, printable(text)) for what, text in rows if text]


def region_rows(facts: Facts) -> list[Sequence[str]]:
    """The rows below `REGION_HEAD`, of a `pghot.summary` document: most misses first."""
    total = max(1, facts["misses"])
    return [
        (
            elided(printable(each["name"]), _NAME),
            format_short_size(each["pages"] * facts["page_bytes"]),
            f"{each['misses']:,}",
            format_share(each["misses"] / total),
            f"{each['writes']:,}",
        )
        for each in facts["regions"]
    ]
