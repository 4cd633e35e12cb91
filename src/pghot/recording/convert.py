"""Recordings to Parquet and back, to new recordings that keep what is good, and of other tools' files; streamed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

from pghot.errors import UsageError
from pghot.outputs import check_free, written_whole
from pghot.recording import format as fmt
from pghot.recording.compressibility import Compressibility
from pghot.recording.csv_export import write_csv
from pghot.recording.framing import CONTINUATION
from pghot.recording.importers.importing import Progress, import_recording
from pghot.recording.parquet import open_table, write_table
from pghot.recording.reader import Recording, open_recording
from pghot.recording.run_batch import RunBatch
from pghot.recording.trace import Region, SliceBatch, TraceInfo, Verification
from pghot.recording.writer import DEFAULT_LEVEL, WHOLE_BATCHES, RecordingWriter


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written, what of the source could not be read (see `Recording`), and what it does not know."""

    slices: int
    rows: int
    verification: Verification | None
    doubt: str = ""
    dropped_bytes: int = 0
    dropped_slices: int = 0
    damage: str = ""
    not_known: tuple[str, ...] = ()


def convert(
    src: str | Path,
    dst: str | Path,
    force: bool = False,
    accesses_per_us: float | None = None,
    level: int = DEFAULT_LEVEL,
    progress: Progress = lambda done, total: None,
) -> Conversion:
    """Convert a recording to `.parquet` and back, to `.csv`, or to a recording that keeps the good slices; or import
    a file of another tool. What `src` is, `kind_of` says.

    accesses_per_us  the rate of accesses, for files of other tools that have no time (`import_recording`)
    level            of zstd, for recordings that are written
    progress         of an import, see `import_recording`

    What was doubtful in `src` stays so in `dst`: a new seal does not make it verified. `src` may be a URI (`.pghot`
    only); `dst` is a local path and appears only once it is complete. Raises `UsageError` for unknown extensions, an
    existing `dst` without `force`, or a `src` that is not ours; `PghotError` when the data is damaged or `dst` cannot
    be written.
    """
    kind = kind_of(src)
    suffix = Path(dst).suffix.lower()
    if accesses_per_us is not None and kind is not FileKind.FOREIGN:
        raise UsageError(f"{src} has a time of its own: no rate can be declared", "leave it out")
    if suffix not in (fmt.SUFFIX, ".parquet", ".csv") or (kind is not FileKind.OURS and suffix != fmt.SUFFIX):
        raise UsageError(
            f"cannot convert {src} to {dst}",
            "of a recording, name a .parquet, .csv or .pghot; of others, a .pghot",
        )
    check_free(Path(dst), force)
    if kind is FileKind.FOREIGN:
        return _import(src, Path(dst), force, accesses_per_us, level, progress)
    if kind is FileKind.PARQUET:
        return _from_parquet(src, Path(dst), force, level)
    if suffix == ".csv":
        return _to_csv(src, Path(dst), force)
    return _copy(src, Path(dst), force, level) if suffix == fmt.SUFFIX else _to_parquet(src, Path(dst), force)


class FileKind(Enum):
    """Whose a file is."""

    OURS = auto()
    PARQUET = auto()
    FOREIGN = auto()


def kind_of(path: str | Path) -> FileKind:
    """By its name, else by its first bytes. One that cannot be read, or is empty, counts as ours: opening it says what
    is wrong."""
    suffix = Path(str(path)).suffix.lower()
    if suffix in (fmt.SUFFIX, ".parquet"):
        return FileKind.OURS if suffix == fmt.SUFFIX else FileKind.PARQUET
    try:
        with open(path, "rb") as file:
            start = file.read(4)
    except (OSError, ValueError):
        return FileKind.OURS
    if start == b"PAR1":
        return FileKind.PARQUET
    return FileKind.OURS if start == CONTINUATION[: len(start)] else FileKind.FOREIGN


def _import(
    src: str | Path,
    dst: Path,
    force: bool,
    accesses_per_us: float | None,
    level: int,
    progress: Progress,
) -> Conversion:
    done = import_recording(src, dst, force, accesses_per_us, level, progress)
    return Conversion(done.slices, done.rows, Verification.UNVERIFIED, done.doubt, not_known=done.not_known)


def _copy(src: str | Path, dst: Path, force: bool, level: int) -> Conversion:
    recording = open_recording(src, verify=True)
    _write(
        dst,
        force,
        recording.info,
        recording.run_batches(),
        recording.regions,
        recording.compressibility,
        recording.pages,
        _final_facts(recording),
        level,
        recording.runs,
    )
    return _conversion(recording)


def _to_parquet(src: str | Path, dst: Path, force: bool) -> Conversion:
    recording = open_recording(src, verify=True)
    with written_whole(dst, force) as part:
        write_table(recording, _final_facts(recording), part)
    return _conversion(recording)


def _to_csv(src: str | Path, dst: Path, force: bool) -> Conversion:
    recording = open_recording(src, verify=True)
    with written_whole(dst, force) as part:
        write_csv(recording, part)
    return _conversion(recording)


def _from_parquet(src: str | Path, dst: Path, force: bool, level: int) -> Conversion:
    with open_table(src) as table:
        slices, rows = _write(
            dst,
            force,
            table.info,
            table.batches(),
            table.regions,
            table.samples,
            table.pages,
            table.final,
            level,
        )
        return Conversion(slices, rows, table.info.verification, table.info.doubt)


def _write(
    path: Path,
    force: bool,
    info: TraceInfo,
    batches: Iterable[SliceBatch | RunBatch],
    regions: Iterable[Region],
    samples: Compressibility | None,
    pages: int,
    final: Mapping[str, Any],
    level: int,
    runs: bool = False,
) -> tuple[int, int]:
    """Write a recording; returns how many slices and rows it has."""
    with RecordingWriter(path, info, force, WHOLE_BATCHES, level, True, runs) as writer:
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
