"""Reading a recording: a cheap walk over its headers when it is opened, lazy decoding of its slices.

No claim of a file is trusted beyond its bytes and the format's limits; see `framing`. Opening checks the chain of
digests over all headers, and that the sealed totals are the sums of the batches'. Reading checks the rows: their
digest, the rules of `checks`, and that they add up to what their batch says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from pghot.errors import PghotError, UsageError, shortened
from pghot.parameters import check_kind
from pghot.recording import format as fmt
from pghot.recording import header
from pghot.recording.body import read_buffers
from pghot.recording.bytesource import open_source
from pghot.recording.codec import decode
from pghot.recording.compressibility import Compressibility, concatenate
from pghot.recording.digest import START, check_body, next_chain
from pghot.recording.framing import ByteSource, DamageError, Kind, Message, messages
from pghot.recording.regions import merge_regions
from pghot.recording.run_batch import RunBatch
from pghot.recording.sample_text import from_text
from pghot.recording.tally import BATCH_COUNTS, SUMS, Tally
from pghot.recording.threads import threads_added_up
from pghot.recording.trace import Region, SliceBatch, TraceInfo, Verification
from pghot.sealed import json_object

Facts = dict[str, Any]

# Final facts that a `Recording` shows elsewhere.
_ELSEWHERE = ("batches", "regions", "processes", "tasks")


@dataclass(slots=True)
class _Scan:
    """What the walk over the headers found."""

    info: TraceInfo
    chain: bytes
    good_bytes: int
    runs: bool
    batches: list[tuple[Message, Facts]] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    final: Facts = field(default_factory=dict)
    samples: list[Message] = field(default_factory=list)
    dropped_slices: int = 0
    damage: str = ""


class Recording:
    """A recording on disk; a `Trace`, and the totals that its headers carry.

    sealed           it has its seal, and nothing was dropped; `info.verification` says what that is worth
    dropped_bytes    bytes at the end that could not be used; `dropped_slices` were in them, as far as known
    damage           why they could not be used, "" when nothing was dropped
    final            what the recorder wrote at the end: exit status and so on; empty when it was killed
    digest           the digest that stands for all that could be used, in hex
    seal             the same of a sealed recording; "" when it was not sealed
    rows             of one page each, where threads are told apart
    runs             on disk a row may be of several pages in succession
    cut_rows         rows of several threads whose sum did not fit 32 bits; known once all batches were read
    """

    def __init__(self, path: str, source: ByteSource, scan: _Scan) -> None:
        self.path = path
        self._source = source
        self.runs = scan.runs
        self._batches = scan.batches
        self._samples = scan.samples
        self.final = {key: value for key, value in scan.final.items() if key not in _ELSEWHERE}
        self.damage = scan.damage
        self.dropped_bytes = source.size - scan.good_bytes if scan.damage else 0
        self.dropped_slices = scan.dropped_slices
        self.file_bytes = source.size
        self.sealed = bool(scan.final) and not scan.damage
        self.digest = scan.chain.hex()
        self.seal = self.digest if self.sealed else ""
        self.info = self._judged(_info_with_tasks(scan))
        self.regions = merge_regions(scan.regions, self.info.page_bytes)
        last = scan.final or (scan.batches[-1][1] if scan.batches else {"pages": 0, "footprint_pages": 0})
        self.pages = int(last["pages"])
        self.footprint_pages = int(last["footprint_pages"])
        totals = _totals(scan)
        self.slices, self.rows, self.total_touches, self.total_writes, self.total_sequential = (
            totals[name] for name in ("slices", "rows", "touches", "writes", "sequential")
        )
        self.total_strided, self.total_dependent = totals["strided"], totals["dependent"]
        self.misses_by_cache = tuple(totals["misses"])
        self.total_misses = self.misses_by_cache[0]
        self.cut_rows = 0

    def _judged(self, info: TraceInfo) -> TraceInfo:
        if self.sealed:
            return header.judged(info, Verification.VERIFIED)
        if not self.damage:
            return header.judged(
                info,
                Verification.TRUNCATED,
                "the recorder was stopped before it could seal it: its end is missing",
            )
        return header.judged(
            info,
            Verification.TRUNCATED,
            f"it is damaged ({self.damage}): {self.dropped_bytes} bytes at its end were left out",
        )

    @property
    def complete(self) -> bool:
        """Whether all that the recorder saw is here."""
        return self.info.verification is not Verification.TRUNCATED

    @property
    def first_ns(self) -> int:
        """Virtual time at which the first slice begins; 0 without slices."""
        return int(self._batches[0][1]["first_ns"]) if self._batches else 0

    @property
    def duration_ns(self) -> int:
        """Virtual time from the start of the first slice to the end of the last."""
        if not self._batches:
            return 0
        return int(self._batches[-1][1]["last_ns"]) - self.first_ns + self.info.slice_ns

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

    def batches(self, by_thread: bool = False) -> Iterator[SliceBatch]:
        """The slices, one record batch or less at a time, all threads added up unless they are asked for; a row for
        each page. Raises as `run_batches`.
        """
        cut = 0
        for runs in self.run_batches():
            for batch in runs.by_page():
                if by_thread:
                    yield batch
                    continue
                added, more = threads_added_up(batch)
                cut += more
                yield added
        self.cut_rows = cut

    def run_batches(self) -> Iterator[RunBatch]:
        """The slices, one record batch at a time, threads told apart, rows as they are on disk.

        Raises `PghotError` where the file is damaged, and where rows are not what their batch or the seal says.
        """
        tally = Tally(len(self.info.cache_bytes), self.info.nodes)
        for message, facts in self._batches:
            try:
                yield _decode_rows(self._source, message, facts, tally, self.runs)
            except DamageError as error:
                raise PghotError(
                    f"{self.path} is damaged at byte {message.offset}, "
                    f"after {tally.totals['slices']} good slices: {error}",
                    "`pghot convert` to a new recording keeps the good ones",
                ) from None


def open_recording(path: str | Path, verify: bool = False) -> Recording:
    """Open a recording: a local path, or a URI that `pyarrow.fs` understands.

    A tail that is cut off or damaged is dropped and counted. Without `verify` only headers and regions are
    checked here, and damaged slices raise when `batches` reaches them; with it every slice is decoded once
    now, and what comes after the last good one counts as dropped.

    Raises `UsageError` when there is no such file or it is not a recording, `PghotError` when no slice of it
    can be trusted, or when the seal does not agree with what is there.
    """
    check_kind("path", path, (str, Path), "a path")
    source = open_source(path)
    name = str(path)
    walk = messages(source)
    scan = _read_info(name, source, walk)
    _scan_batches(source, walk, scan, verify)
    try:
        if scan.final:
            _check_seal(scan)
        return Recording(name, source, scan)
    except ValueError as error:
        raise PghotError(f"{name} contradicts itself: {error}", "record it again") from None


def _read_info(name: str, source: ByteSource, walk: Iterator[Message]) -> _Scan:
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
    except DamageError as error:
        raise PghotError(
            f"{name} is cut off or damaged in its first message: {error}", "record it again"
        ) from None
    if fmt.INFO_KEY not in message.custom:
        raise UsageError(f"{name} is an Arrow stream but not a pghot recording", "`pghot record` makes one")
    try:
        text = message.custom[fmt.INFO_KEY]
        facts = json_object(text[text.find("{") :])  # version 1 had a checksum in front
        _check_version(name, facts["format"])
        chain = next_chain(message, START)
        info = header.info_from_facts(facts)
        runs = facts["format"] == fmt.RUN_FORMAT
        if not pa.ipc.read_schema(pa.py_buffer(message.raw)).equals(fmt.schema(len(info.cache_bytes), runs)):
            raise ValueError("its columns are not those of a recording")
        return _Scan(info, chain, message.end, runs)
    except (ValueError, KeyError, OSError, pa.ArrowException) as error:
        raise PghotError(f"{name} has a damaged header: {error}", "record it again") from None


def _check_version(name: str, version: Any) -> None:
    if header.is_count(version) and version in (fmt.FORMAT, fmt.RUN_FORMAT):
        return
    older = header.is_count(version) and version < fmt.FORMAT
    remedy = "record it again; version 1 came before the first release" if older else "upgrade pghot"
    raise UsageError(
        f"{name} has format {shortened(str(version))}, this pghot reads format {fmt.FORMAT} and {fmt.RUN_FORMAT}",
        remedy,
    )


def _foreign_hint(start: bytes) -> str:
    if start[:4] == b"PAR1":
        return "it is Parquet: `pghot convert` makes a recording of it"
    if start[:6] == b"ARROW1":
        return "it is an Arrow file; recordings are Arrow streams with pghot's columns"
    return "`pghot record` makes one"


def _scan_batches(source: ByteSource, walk: Iterator[Message], scan: _Scan, verify: bool) -> None:
    """Walk over the batch headers up to the final facts, the end of the file, or the first damage."""
    tally = Tally(len(scan.info.cache_bytes), scan.info.nodes)
    try:
        for message in walk:
            if scan.final:
                raise DamageError("something after the final facts")
            if message.kind != Kind.RECORD_BATCH:
                raise DamageError("a message that is not a record batch")
            chain = next_chain(message, scan.chain)
            _scan_message(source, message, scan, tally if verify else None)
            scan.chain = chain
            scan.good_bytes = message.end
    except DamageError as error:
        scan.damage = str(error)


def _scan_message(source: ByteSource, message: Message, scan: _Scan, tally: Tally | None) -> None:
    """Take in a batch or the final facts; with a tally its rows too."""
    is_final = fmt.FINAL_KEY in message.custom
    facts = _facts(message.custom.get(fmt.FINAL_KEY if is_final else fmt.BATCH_KEY, ""), is_final, scan)
    if is_final:
        body = source.read(message.body_offset, message.end - message.body_offset)
        check_body(message, body)
    else:
        scan.dropped_slices = facts["slices"]  # until the batch has proved good
        _check_order(facts, scan)
        if tally is not None:
            _decode_rows(source, message, facts, tally, scan.runs)
    if fmt.SAMPLES_KEY in message.custom:
        if tally is not None:
            _decode_samples(message, fmt.MAX_PAGES)
        scan.samples.append(message)
    scan.regions += _regions(facts)
    if is_final:
        scan.final = facts
    else:
        scan.dropped_slices = 0
        scan.batches.append((message, facts))


def _facts(text: str, is_final: bool, scan: _Scan) -> Facts:
    """The facts of a message, their numbers within the format's limits."""
    try:
        facts = json_object(text)
    except ValueError as error:
        raise DamageError(f"the facts of a batch: {error}") from None
    names = ("batches", *SUMS, "footprint_pages") if is_final else BATCH_COUNTS
    for name in (*names, "pages"):
        if not header.is_count(facts.get(name)):
            raise DamageError(f"a batch without its number of {name}")
    misses = facts.get("misses")
    if (
        not isinstance(misses, list)
        or len(misses) != len(scan.info.cache_bytes)
        or not all(map(header.is_count, misses))
    ):
        raise DamageError("a batch without the misses of each cache")
    limits = {"pages": fmt.most_pages(facts["footprint_pages"])}
    if not is_final:
        limits |= {"slices": fmt.MAX_SLICES, "rows": fmt.MAX_ROWS}
    for name, most in limits.items():
        if facts[name] > most:
            raise DamageError(f"{facts[name]} {name}, more than a recording may have")
    return facts


def _check_order(facts: Facts, scan: _Scan) -> None:
    """Each batch is the one after the last, in number and in time; what only grows has not shrunk."""
    before = scan.batches[-1][1] if scan.batches else {"last_ns": -1, "pages": 0, "footprint_pages": 0}
    if facts["number"] != len(scan.batches):
        raise DamageError(f"batch {facts['number']} where number {len(scan.batches)} belongs")
    if not before["last_ns"] < facts["first_ns"] <= facts["last_ns"] or not header.is_time_ns(
        facts["last_ns"]
    ):
        raise DamageError("batches that do not ascend in time")
    if not facts["slices"]:
        raise DamageError("a batch without slices")
    fresh = facts["footprint_pages"] - before["footprint_pages"]
    if facts["pages"] < before["pages"] or not 0 <= fresh <= facts["rows"]:
        raise DamageError("a batch that cannot have touched so many pages")


def _totals(scan: _Scan) -> Facts:
    """What the batches add up to, as they say."""
    facts = [each for _, each in scan.batches]
    totals: Facts = {name: sum(each[name] for each in facts) for name in SUMS}
    per_cache = (
        zip(*(each["misses"] for each in facts), strict=True) if facts else [()] * len(scan.info.cache_bytes)
    )
    return {**totals, "batches": len(facts), "misses": [sum(misses) for misses in per_cache]}


def _check_seal(scan: _Scan) -> None:
    """Raise `ValueError` when the sealed totals are not those of the batches."""
    last = scan.batches[-1][1] if scan.batches else {"footprint_pages": 0, "pages": 0}
    found = {**_totals(scan), "footprint_pages": last["footprint_pages"]}
    for name, value in found.items():
        if scan.final[name] != value:
            raise ValueError(f"{name} {scan.final[name]} in the seal, {value} in the batches")
    if scan.final["pages"] < last["pages"]:
        raise ValueError(f"pages {scan.final['pages']} in the seal, {last['pages']} in the batches")


def _info_with_tasks(scan: _Scan) -> TraceInfo:
    """What is known of the recording: the header, the processes and threads named since, the final facts."""
    named = [each for _, each in scan.batches if "tasks" in each]
    latest = {name: named[-1].get(name) for name in ("processes", "tasks")} if named else {}
    return header.with_final_facts(scan.info, {**latest, **scan.final})


def _regions(facts: Facts) -> list[Region]:
    try:
        regions = header.regions_from_facts(facts.get("regions"))
    except ValueError as error:
        raise DamageError(str(error)) from None
    if any(region.first_page + region.pages > facts["pages"] for region in regions):
        raise DamageError("a region outside the dense index space")
    return regions


def _decode_rows(source: ByteSource, message: Message, facts: Facts, tally: Tally, runs: bool) -> RunBatch:
    """The slices of a batch, checked: their digest, their sizes, what must hold of rows, what they add up to."""
    body = source.read(message.body_offset, message.end - message.body_offset)
    if len(body) != message.end - message.body_offset:
        raise DamageError("a file that became shorter")
    check_body(message, body)
    caches = len(facts["misses"])
    batch = decode(read_buffers(body, message, caches, runs), caches, runs)
    if (batch.rows.slices, batch.all_rows) != (facts["slices"], facts["rows"]):
        raise DamageError("a batch that has not as many slices and rows as it says")
    try:
        found = tally.add(batch, facts["pages"])
    except PghotError as error:
        raise DamageError(str(error)) from None
    for name, value in found.items():
        if facts[name] != value:
            raise DamageError(f"{name} {facts[name]} by its header, {value} by its rows")
    return batch


def _decode_samples(message: Message, pages: int) -> Compressibility:
    try:
        samples = from_text(message.custom[fmt.SAMPLES_KEY])
    except ValueError as error:
        raise DamageError(str(error)) from None
    if (samples.page >= pages).any():
        raise DamageError("a sample of a page outside the dense index space")
    return samples
