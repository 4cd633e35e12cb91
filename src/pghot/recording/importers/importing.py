"""Foreign recordings become recordings: streamed through numbering, cache model and slices into a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pghot.arrays import U64, Bool
from pghot.errors import PghotError, UsageError
from pghot.recording.importers.cache_model import CACHE_BYTES, WAYS, CacheModel
from pghot.recording.importers.importer import (
    MOST_SPACES,
    NS_PER_INSTRUCTION,
    Accesses,
    Clock,
    GivesAccesses,
    GivesRegions,
    Importer,
)
from pghot.recording.importers.input import opened
from pghot.recording.importers.page_numbers import EXTENT_BITS, PAGE_SHIFT, PageNumbers, regions_of
from pghot.recording.importers.region_stream import RegionStream
from pghot.recording.importers.registry import importer_of
from pghot.recording.importers.slice_maker import SliceMaker
from pghot.recording.trace import TraceInfo, Verification
from pghot.recording.writer import DEFAULT_LEVEL, WHOLE_BATCHES, RecordingWriter
from pghot.units import format_number, format_size

# Of two instructions a nanosecond, three of ten access memory.
ACCESSES_PER_US = 600.0
MOST_ACCESSES_PER_US = 1e6
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Imported:
    """What was imported: of which format, how much, and what must be said of it."""

    format: str
    slices: int
    rows: int
    doubt: str
    not_known: tuple[str, ...]


def import_recording(
    path: str | Path,
    target: str | Path,
    force: bool = False,
    accesses_per_us: float | None = None,
    level: int = DEFAULT_LEVEL,
    progress: Progress = lambda done, total: None,
) -> Imported:
    """Make a recording at `target` of a file of any known format.

    accesses_per_us  the rate of accesses, for a format that has no time; None: `ACCESSES_PER_US`
    progress         called with the bytes of the file that were read, and all of them

    Raises `UsageError` for a file of no known format, for a rate where the format has its own time, and for a target
    that exists without `force`; `PghotError` where the file is damaged.
    """
    with opened(path) as source:
        importer = importer_of(source)(source)
        rate = _checked_rate(importer, accesses_per_us)
        info = _info(path, importer)
        of_regions = isinstance(importer, GivesRegions)
        with RecordingWriter(target, info, force, WHOLE_BATCHES, level, True, of_regions) as writer:
            stream: _Stream | RegionStream
            if isinstance(importer, GivesRegions):
                stream = RegionStream(importer, writer, source.name)
            else:
                assert isinstance(importer, GivesAccesses)  # every importer is one of the two
                stream = _Stream(importer, writer, rate)
            for _ in stream.taken():
                progress(*source.progress())
            if not writer.rows:
                lost = "; ".join(_losses(importer))
                raise UsageError(f"no access in it{lost and f': {lost}'}", "look at what recorded it")
            said = (
                *importer.not_known,
                *_about_time(importer, rate),
                *_about_misses(importer),
                *importer.found.sentences,
                *stream.sentences(),
            )
            doubt = _doubt(importer)
            writer.finish(
                pages=stream.numbers.pages,
                imported_from=importer.name,
                not_known=said,
                doubt=doubt,
                lost=min(importer.found.lost, 1 << 62),
                sampling_period=importer.found.period,
            )
            return Imported(importer.name, writer.slices, writer.rows, doubt, said)


def _checked_rate(importer: Importer, accesses_per_us: float | None) -> float:
    if accesses_per_us is None:
        return ACCESSES_PER_US
    if importer.clock is not Clock.DECLARED:
        raise UsageError(
            f"{importer.summary} has a time of its own: no rate can be declared",
            "leave --accesses-per-us out",
        )
    if not 1e-6 <= accesses_per_us <= MOST_ACCESSES_PER_US:
        raise UsageError(
            f"a rate of {format_number(accesses_per_us)} accesses a microsecond is not possible",
            f"give 0.000001 to {format_number(MOST_ACCESSES_PER_US)}",
        )
    return accesses_per_us


def _info(path: str | Path, importer: Importer) -> TraceInfo:
    modelled = importer.every_access
    return TraceInfo(
        Path(path).name.split(".")[0],
        "import",
        importer.slice_ns,
        ns_per_instruction=NS_PER_INSTRUCTION,
        llc_bytes=CACHE_BYTES if modelled else 0,
        llc_ways=WAYS if modelled else 0,
        patterns=("sequential",) if modelled else (),
        notes=(f"imported from {importer.summary}",),
        not_known=importer.not_known,
        verification=Verification.UNVERIFIED,
        doubt=_NO_SEAL.format(importer.name),
    )


_NO_SEAL = "it was imported from {}, which has no seal and cannot be checked"


def _doubt(importer: Importer) -> str:
    return "; ".join([_NO_SEAL.format(importer.name), *(f"left out: {loss}" for loss in _losses(importer))])


def _losses(importer: Importer) -> list[str]:
    return [f"{count:,} {what}" for what, count in importer.found.losses.items()]


def _about_time(importer: Importer, rate: float) -> tuple[str, ...]:
    match importer.clock:
        case Clock.DECLARED:
            return (f"time is not known: {format_number(rate)} accesses a microsecond were declared",)
        case Clock.INSTRUCTIONS:
            return (f"time is not known: each instruction counts as {format_number(NS_PER_INSTRUCTION)} ns",)
    return ()


def _about_misses(importer: Importer) -> tuple[str, ...]:
    if not importer.every_access:
        return ()
    return (f"misses are not known: they are those of a model of a cache of {format_size(CACHE_BYTES)}",)


class _Stream:
    """Accesses on their way into a writer."""

    def __init__(self, importer: GivesAccesses, writer: RecordingWriter, accesses_per_us: float) -> None:
        self._importer, self._writer = importer, writer
        self._declared = importer.clock is Clock.DECLARED
        self._ns_each = 1000 / accesses_per_us
        self._bits = 0 if importer.objects else EXTENT_BITS
        self.numbers = PageNumbers(self._bits, 0 if importer.objects else PAGE_SHIFT)
        self._cache = CacheModel() if importer.every_access else None
        self._slices = SliceMaker(importer.slice_ns)
        self._seen = 0

    def taken(self) -> Iterator[None]:
        """Takes in all, and stops on the way to tell that it goes on."""
        for part in self._importer.accesses():
            self._take(part)
            yield
        rest = self._slices.rest()
        if rest is not None:
            self._writer.append(rest)

    def _take(self, part: Accesses) -> None:
        if not len(part):
            return
        if int(part.space.max()) >= MOST_SPACES:
            raise PghotError(f"more than {MOST_SPACES:,} address spaces", "import a part of the file")
        before = self.numbers.pages >> self._bits
        dense, fresh = self.numbers.number(part.address, part.space)
        if not self._importer.objects:
            self._writer.announce(regions_of(fresh, before, self._bits))
        missed: Bool = part.missed
        if self._cache is not None:
            missed = self._cache.misses(part.address, part.space)
        done = self._slices.take(self._times_of(part), dense, part.address, part.count, missed, part.write)
        if done is not None:
            self._writer.append(done)

    def sentences(self) -> tuple[str, ...]:
        if not self._slices.late:
            return ()
        return (
            f"{self._slices.late:,} accesses had earlier times than ones before them, and count at the later time",
        )

    def _times_of(self, part: Accesses) -> U64:
        if not self._declared:
            return part.time_ns
        number = np.arange(self._seen, self._seen + len(part), dtype=np.float64)
        self._seen += len(part)
        return (number * self._ns_each).astype(np.uint64)
