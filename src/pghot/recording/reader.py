"""Reading a recording: a cheap walk over its headers when it is opened, lazy decoding of its slices.

No claim of a file is trusted beyond its bytes and the format's limits; see `framing`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pghot.errors import PghotError, UsageError
from pghot.recording import format as fmt
from pghot.recording.body import read_buffers
from pghot.recording.buffers import REGION_BUFFERS, ROW_BUFFERS
from pghot.recording.bytesource import open_source
from pghot.recording.checks import check_batch
from pghot.recording.codec import decode, decode_regions, regions_crc32, rows_crc32
from pghot.recording.compressibility import Compressibility, concatenate
from pghot.recording.framing import ByteSource, DamageError, Kind, Message, messages
from pghot.recording.regions import checked_regions, merge_regions
from pghot.recording.sample_text import from_text
from pghot.recording.trace import Region, SliceBatch, TraceInfo
from pghot.sealed import unseal

_BATCH_FACTS = (
    "slices",
    "rows",
    *fmt.COUNTERS,
    "pages",
    "first_ns",
    "last_ns",
    "rows_crc32",
    "regions_crc32",
)


@dataclass(slots=True)
class _Scan:
    """What the walk over the headers found."""

    info: TraceInfo
    batches: list[tuple[Message, dict[str, Any]]] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    final: dict[str, Any] = field(default_factory=dict)
    samples: list[Message] = field(default_factory=list)
    good_bytes: int = 0
    dropped_slices: int = 0
    damage: str = ""


class Recording:
    """A recording on disk; a `Trace`, and the totals that its headers carry.

    complete         the recorder finished it and nothing was dropped
    dropped_bytes    bytes at the end that could not be used; `dropped_slices` were in them, as far as known
    damage           why they could not be used, "" when nothing was dropped
    final            what the recorder wrote at the end: exit status and so on; empty when it was killed
    """

    def __init__(self, path: str, source: ByteSource, scan: _Scan) -> None:
        self.path = path
        self._source = source
        self._batches = scan.batches
        self._samples = scan.samples
        self.final = {key: value for key, value in scan.final.items() if key != "regions"}
        self.damage = scan.damage
        self.dropped_bytes = source.size - scan.good_bytes if scan.damage else 0
        self.dropped_slices = scan.dropped_slices
        self.file_bytes = source.size
        self.info = fmt.with_final_facts(scan.info, scan.final)
        self.regions = merge_regions(scan.regions, self.info.page_bytes)
        self.slices = self._sum("slices")
        self.rows = self._sum("rows")
        self.total_touches = self._sum("touches")
        self.total_misses = self._sum("misses")
        self.total_sequential = self._sum("sequential")
        self.total_writes = self._sum("writes")
        self.pages = max([r.first_page + r.pages for r in self.regions[-1:]] + [self._pages(), 0])
        self.complete = bool(self.final.get("complete")) and not self.damage

    def _sum(self, name: str) -> int:
        return sum(int(facts[name]) for _, facts in self._batches)

    def _pages(self) -> int:
        claims = [int(facts["pages"]) for _, facts in self._batches]
        return max([0, *claims, int(self.final.get("pages", 0))])

    @property
    def duration_ns(self) -> int:
        """Virtual time from the start of the first slice to the end of the last."""
        if not self._batches:
            return 0
        first_ns = int(self._batches[0][1]["first_ns"])
        return int(self._batches[-1][1]["last_ns"]) - first_ns + self.info.slice_ns

    @cached_property
    def footprint_pages(self) -> int:
        """Distinct pages touched. Known from the final facts; read from the slices when these are missing."""
        if self.complete:
            return int(self.final["footprint_pages"])
        touched = np.zeros(self.pages, np.bool_)
        for batch in self.batches():
            touched[batch.page] = True
        return int(np.count_nonzero(touched))

    @cached_property
    def compressibility(self) -> Compressibility | None:
        """How well the pages compress; None when that was not recorded. Raises `PghotError` for damage."""
        parts = []
        for message in self._samples:
            try:
                parts.append(_decode_samples(message, self.pages))
            except DamageError as error:
                raise PghotError(
                    f"{self.path} has damaged samples of page contents at byte {message.offset}: {error}",
                    "`pghot convert` to a new recording keeps what comes before",
                ) from None
        return concatenate(parts) if parts else None

    def batches(self) -> Iterator[SliceBatch]:
        """The slices, one record batch at a time. Raises `PghotError` where the file is damaged."""
        done = 0
        for message, facts in self._batches:
            try:
                yield _decode_rows(self._source, message, facts, self.pages, self.info.nodes)
            except DamageError as error:
                raise PghotError(
                    f"{self.path} is damaged at byte {message.offset}, after {done} good slices: {error}",
                    "`pghot convert` to a new recording keeps the good ones",
                ) from None
            done += facts["slices"]


def open_recording(path: str | Path, verify: bool = False) -> Recording:
    """Open a recording: a local path, or a URI that `pyarrow.fs` understands.

    A tail that is cut off or damaged is dropped and counted. Without `verify` only headers and regions are
    checked here, and damaged slices raise when `batches` reaches them; with it every slice is decoded once
    now, and what comes after the last good one counts as dropped.

    Raises `UsageError` when there is no such file or it is not a recording, `PghotError` when no slice of it
    can be trusted.
    """
    source = open_source(path)
    name = str(path)
    walk = messages(source)
    info, begin = _read_info(name, source, walk)
    scan = _Scan(info, good_bytes=begin)
    _scan_batches(source, walk, scan, verify)
    try:
        return Recording(name, source, scan)
    except ValueError as error:
        raise PghotError(f"{name} has damaged final facts: {error}", "record it again") from None


def _read_info(name: str, source: ByteSource, walk: Iterator[Message]) -> tuple[TraceInfo, int]:
    """What the schema message says, and where it ends. Raises for what is not a recording of pghot."""
    start = bytes(source.read(0, 8))
    if not start:
        raise UsageError(f"{name} is empty", "record it again")
    if start[:4] != b"\xff\xff\xff\xff":
        raise UsageError(f"{name} is not a pghot recording", _foreign_hint(start))
    try:
        message = next(walk, None)
        if message is None or message.kind != Kind.SCHEMA:
            raise DamageError("it does not begin with a schema")
        custom = {pair.text(0): pair.text(1) for pair in message.header.tables(2)}
    except DamageError as error:
        raise PghotError(
            f"{name} is cut off or damaged in its first message: {error}", "record it again"
        ) from None
    if fmt.INFO_KEY not in custom:
        raise UsageError(f"{name} is an Arrow stream but not a pghot recording", "`pghot record` makes one")
    try:
        facts = unseal(custom[fmt.INFO_KEY])
        if facts["format"] != fmt.FORMAT:
            raise UsageError(
                f"{name} has format {facts['format']}, this pghot reads format {fmt.FORMAT}", "upgrade pghot"
            )
        if not pa.ipc.read_schema(pa.py_buffer(message.raw)).equals(fmt.SCHEMA):
            raise ValueError("its columns are not those of a recording")
        return fmt.info_from_facts(facts), message.end
    except (ValueError, KeyError, OSError, pa.ArrowException) as error:
        raise PghotError(f"{name} has a damaged header: {error}", "record it again") from None


def _foreign_hint(start: bytes) -> str:
    if start[:4] == b"PAR1":
        return "it is Parquet: `pghot convert` makes a recording of a Parquet file that pghot wrote"
    if start[:6] == b"ARROW1":
        return "it is an Arrow file; recordings are Arrow streams with pghot's columns"
    return "`pghot record` makes one"


def _scan_batches(source: ByteSource, walk: Iterator[Message], scan: _Scan, verify: bool) -> None:
    """Walk over the batch headers up to the final facts, the end of the file, or the first damage."""
    try:
        for message in walk:
            if scan.final:
                raise DamageError("something after the final facts")
            if message.kind != Kind.RECORD_BATCH:
                raise DamageError("a message that is not a record batch")
            if fmt.FINAL_KEY in message.custom:
                if verify:
                    _check_samples(message)
                scan.final = _final_facts(message)
                scan.regions += _final_regions(scan.final)
            else:
                _scan_batch(source, message, scan, verify)
            if fmt.SAMPLES_KEY in message.custom:
                scan.samples.append(message)
            scan.good_bytes = message.end
        _check_count(scan)
    except DamageError as error:
        scan.damage = str(error)


def _check_count(scan: _Scan) -> None:
    found = sum(facts["slices"] for _, facts in scan.batches)
    if scan.final and scan.final["slices"] != found:
        raise DamageError(f"{scan.final['slices']} slices were written, {found} are there")


def _scan_batch(source: ByteSource, message: Message, scan: _Scan, verify: bool) -> None:
    facts = _batch_facts(message)
    scan.dropped_slices = facts["slices"]  # until the batch has proved good
    regions = _decode_regions(source, message, facts)
    if verify:
        _decode_rows(source, message, facts, facts["pages"], scan.info.nodes)
        _check_samples(message)
    scan.dropped_slices = 0
    scan.regions += regions
    scan.batches.append((message, facts))


def _batch_facts(message: Message) -> dict[str, int]:
    """The sealed summary of a batch, its values within the format's limits."""
    facts = _unseal(message.custom.get(fmt.BATCH_KEY, ""))
    for name in _BATCH_FACTS:
        if not _is_count(facts.get(name)):
            raise DamageError(f"a batch without its number of {name}")
    for name, most in (("slices", fmt.MAX_SLICES), ("rows", fmt.MAX_ROWS), ("pages", fmt.MAX_PAGES)):
        if facts[name] > most:
            raise DamageError(f"a batch of {facts[name]} {name}, more than a recording may have")
    return facts


def _final_facts(message: Message) -> dict[str, Any]:
    facts = _unseal(message.custom[fmt.FINAL_KEY])
    if not all(_is_count(facts.get(name)) for name in ("slices", "pages", "footprint_pages")):
        raise DamageError("final facts without the number of slices and pages")
    if facts["pages"] > fmt.MAX_PAGES:
        raise DamageError(f"{facts['pages']} pages, more than a recording may have")
    return facts


def _final_regions(final: dict[str, Any]) -> list[Region]:
    """Regions that were announced after the last slice."""
    try:
        return checked_regions(
            [
                Region(int(first), int(pages), int(space), int(start), str(name))
                for first, pages, space, start, name in final.get("regions", [])
            ]
        )
    except (TypeError, ValueError, OverflowError):
        raise DamageError("final facts with regions that are none") from None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64


def _unseal(sealed: str) -> dict[str, Any]:
    try:
        return unseal(sealed)
    except ValueError as error:
        raise DamageError(f"the facts of a batch: {error}") from None


def _decode_rows(
    source: ByteSource, message: Message, facts: dict[str, int], pages: int, nodes: int
) -> SliceBatch:
    """The slices of a batch, checked: its checksum, its sizes, and what must hold of rows."""
    buffers = read_buffers(source, message, ROW_BUFFERS)
    if rows_crc32(buffers) != facts["rows_crc32"]:
        raise DamageError("the checksum does not match")
    batch = decode(buffers)
    if (batch.slices, batch.rows) != (facts["slices"], facts["rows"]):
        raise DamageError("a batch that has not as many slices and rows as it says")
    try:
        check_batch(batch, pages, nodes)
    except PghotError as error:
        raise DamageError(str(error)) from None
    return batch


def _check_samples(message: Message) -> None:
    if fmt.SAMPLES_KEY in message.custom:
        _decode_samples(message, fmt.MAX_PAGES)


def _decode_samples(message: Message, pages: int) -> Compressibility:
    try:
        samples = from_text(message.custom[fmt.SAMPLES_KEY])
    except ValueError as error:
        raise DamageError(str(error)) from None
    if (samples.page >= pages).any():
        raise DamageError("a sample of a page outside the dense index space")
    return samples


def _decode_regions(source: ByteSource, message: Message, facts: dict[str, int]) -> list[Region]:
    buffers = read_buffers(source, message, REGION_BUFFERS)
    if regions_crc32(buffers) != facts["regions_crc32"]:
        raise DamageError("the checksum of the regions does not match")
    try:
        return checked_regions(decode_regions(buffers))
    except ValueError as error:
        raise DamageError(str(error)) from None
