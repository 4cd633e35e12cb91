"""Recordings to Parquet and back, and to new recordings that keep what is good; streamed, and lossless."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pghot.errors import UsageError
from pghot.outputs import check_free, written_whole
from pghot.recording import format as fmt
from pghot.recording.compressibility import Compressibility
from pghot.recording.parquet import open_table, write_table
from pghot.recording.reader import Recording, open_recording
from pghot.recording.trace import Region, SliceBatch, TraceInfo, Verification
from pghot.recording.writer import WHOLE_BATCHES, RecordingWriter


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written, and what of the source could not be read: see `Recording`."""

    slices: int
    rows: int
    verification: Verification | None
    doubt: str = ""
    dropped_bytes: int = 0
    dropped_slices: int = 0
    damage: str = ""


def convert(src: str | Path, dst: str | Path, force: bool = False) -> Conversion:
    """Convert by extension: `.pghot` to `.parquet` and back; `.pghot` to `.pghot` keeps the good slices.

    What was doubtful in `src` stays so in `dst`: a new seal does not make it verified. `src` may be a URI (`.pghot`
    only); `dst` is a local path and appears only once it is complete. Raises `UsageError` for unknown extensions, an
    existing `dst` without `force`, or a `src` that is not ours; `PghotError` when the data is damaged or `dst` cannot
    be written.
    """
    steps: dict[tuple[str, str], Callable[[str | Path, Path, bool], Conversion]] = {
        (fmt.SUFFIX, ".parquet"): _to_parquet,
        (".parquet", fmt.SUFFIX): _from_parquet,
        (fmt.SUFFIX, fmt.SUFFIX): _copy,
    }
    step = steps.get((Path(str(src)).suffix.lower(), Path(dst).suffix.lower()))
    if step is None:
        raise UsageError(
            f"cannot convert {src} to {dst}", "one must end in .pghot, the other in .parquet or .pghot"
        )
    check_free(Path(dst), force)
    return step(src, Path(dst), force)


def _copy(src: str | Path, dst: Path, force: bool) -> Conversion:
    recording = open_recording(src, verify=True)
    _write(
        dst,
        force,
        recording.info,
        recording.batches(by_thread=True),
        recording.regions,
        recording.compressibility,
        recording.pages,
        _final_facts(recording),
    )
    return _conversion(recording)


def _to_parquet(src: str | Path, dst: Path, force: bool) -> Conversion:
    recording = open_recording(src, verify=True)
    with written_whole(dst, force) as part:
        write_table(recording, _final_facts(recording), part)
    return _conversion(recording)


def _from_parquet(src: str | Path, dst: Path, force: bool) -> Conversion:
    with open_table(src) as table:
        slices, rows = _write(
            dst, force, table.info, table.batches(), table.regions, table.samples, table.pages, table.final
        )
        return Conversion(slices, rows, table.info.verification, table.info.doubt)


def _write(
    path: Path,
    force: bool,
    info: TraceInfo,
    batches: Iterable[SliceBatch],
    regions: Iterable[Region],
    samples: Compressibility | None,
    pages: int,
    final: Mapping[str, Any],
) -> tuple[int, int]:
    """Write a recording; returns how many slices and rows it has."""
    with RecordingWriter(path, info, force, WHOLE_BATCHES, whole=True) as writer:
        writer.announce(list(regions))
        if samples is not None:
            writer.add_samples(samples)
        for batch in batches:
            writer.append(batch)
        writer.finish(**{**final, "pages": pages})
        return writer.slices, writer.rows


def _final_facts(recording: Recording) -> dict[str, Any]:
    """The final facts; of a recording that lost something, how much that was."""
    if not recording.damage:
        return recording.final
    losses = {"dropped_bytes": recording.dropped_bytes, "dropped_slices": recording.dropped_slices}
    return {**recording.final, "losses_before_conversion": losses}


def _conversion(recording: Recording) -> Conversion:
    losses = (recording.dropped_bytes, recording.dropped_slices, recording.damage)
    info = recording.info
    return Conversion(recording.slices, recording.rows, info.verification, info.doubt, *losses)
