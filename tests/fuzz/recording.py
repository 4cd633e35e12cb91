"""Recordings: bytes changed, messages moved, and facts, columns and lengths forged with digests that fit.

What pghot reads is compared with what Arrow's own reader finds in the same file, decoded the slow way; and a file
whose digests were not forged must hold what was recorded, or its beginning and be called truncated.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import struct
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from builders.damage import damaged_bytes, damaged_json, odd_number
from builders.forged import END_MARK, Draft, draft, resealed
from builders.recordings import INFO, random_trace
from fuzz.harness import Silent
from pghot.cli.main import run
from pghot.recording import format as fmt
from pghot.recording.batches import ROW_DTYPES, concatenate, part
from pghot.recording.coarsen import coarsen
from pghot.recording.convert import convert
from pghot.recording.framing import DamageError, InMemory, Table, batch_header, messages
from pghot.recording.reader import Recording, open_recording
from pghot.recording.run_batch import RunBatch
from pghot.recording.summary import summarise
from pghot.recording.trace import MemoryTrace, SliceBatch, TraceInfo, Verification, cut_rows_of
from pghot.recording.writer import RecordingWriter

NAME = "recording"


@dataclass(frozen=True, slots=True)
class Original:
    """A recording as pghot writes it.

    whole   every slice, threads told apart
    pieces  the header's message, each batch's, the seal's
    """

    info: TraceInfo
    whole: SliceBatch
    content: bytes
    pieces: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """A damaged recording. `forged`: its digests were computed anew, so it is another recording, or none."""

    path: Path
    original: Original
    forged: bool


def _original(trace: MemoryTrace, flush_slices: int, runs: bool = False) -> Original:
    """runs: its rows are of several pages, of as many as there are to the next row, at most three"""
    parts = [_with_runs(batch) if runs else RunBatch.single(batch) for batch in trace.batches()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.pghot"
        with RecordingWriter(path, trace.info, flush_slices=flush_slices, runs=runs) as writer:
            writer.announce(trace.regions)
            for batch in parts:
                writer.append(batch)
            writer.finish(exit_status=0)
        content = path.read_bytes()
    ends = [message.end for message in messages(InMemory(content))]
    pieces = tuple(content[begin:end] for begin, end in pairwise([0, *ends]))
    whole = [each for batch in parts for each in batch.by_page()]
    return Original(trace.info, concatenate(whole), content, pieces)


def _with_runs(batch: SliceBatch) -> RunBatch:
    gap = np.diff(batch.page.astype(np.int64), append=0)
    gap[batch.offsets[1:][batch.offsets[1:] > 0] - 1] = 1  # behind the last row of a slice
    return RunBatch(batch, np.clip(gap, 1, 3).astype(np.uint32))


@cache
def originals() -> list[Original]:
    """Recordings of several shapes: nodes, threads, caches, large counters, page sizes, empty slices, none at all."""
    small = {"parts": 3, "slices": 3, "rows": 5}
    wide = replace(
        INFO, nodes=2, threads=3, cache_bytes=(1 << 20, 1 << 22), patterns=("sequential", "strided")
    )
    huge = replace(INFO, page_bytes=1 << 21, ns_per_instruction=0.25, mlp=4.0, stored_bytes=(1024, 2048))
    traces = [
        random_trace(**small, info=replace(INFO, nodes=2), nodes=2),
        random_trace(**small, info=wide, nodes=2, threads=3, caches=2),
        random_trace(parts=2, slices=6, rows=7, info=huge, largest=(1 << 32) - 1),
        random_trace(parts=1, slices=1, rows=1),
        random_trace(parts=1, slices=7, rows=0),
        random_trace(parts=0),
    ]
    # Each with a name of its own: else the digests of one would fit the batches of another.
    named = [
        replace(trace, info=replace(trace.info, name=f"original {at}")) for at, trace in enumerate(traces)
    ]
    of_runs = [
        replace(random_trace(**small), info=replace(INFO, name="runs")),
        replace(
            random_trace(parts=1, slices=4, rows=9, largest=(1 << 32) - 1), info=replace(INFO, name="runs 2")
        ),
    ]
    return [*(_original(trace, 3) for trace in named), *(_original(trace, 3, runs=True) for trace in of_runs)]


originals()


# ---- making


def make(rng: random.Random, folder: Path) -> Made:
    """A recording with one kind of damage; one in fifty has none."""
    original = rng.choice(originals())
    path = folder / "a.pghot"
    content, forged = original.content, False
    if rng.randrange(50):
        content, forged = rng.choice(_WAYS)(rng, original, path)
    path.write_bytes(content)
    return Made(path, original, forged)


def _bytes(rng: random.Random, original: Original, path: Path) -> tuple[bytes, bool]:
    return damaged_bytes(rng, original.content), False


def _forged_bytes(rng: random.Random, original: Original, path: Path) -> tuple[bytes, bool]:
    """Digests that fit, where enough of the framing is left to compute them."""
    content = damaged_bytes(rng, original.content, most=1)
    try:
        return resealed(content), True
    except (DamageError, IndexError):
        return content, False


def _messages(rng: random.Random, original: Original, path: Path) -> tuple[bytes, bool]:
    """Batches in another order, doubled, missing, from another recording; without the seal or with two."""
    head, *rest = original.pieces
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(rest)) if rest else 0
        match rng.randrange(4):
            case 0:
                rng.shuffle(rest)
            case 1:
                del rest[at : at + 1]
            case 2:
                rest[at:at] = rest[at : at + 1]
            case _:
                rest.insert(at, rng.choice(rng.choice(originals()).pieces))
    content = head + b"".join(rest) + END_MARK
    return (resealed(content), True) if rng.randrange(2) else (content, False)


def _facts(rng: random.Random, original: Original, path: Path) -> tuple[bytes, bool]:
    taken_apart = _draft(original, path)
    at = rng.randrange(-1, len(taken_apart.batches))
    if at < 0:
        taken_apart.header = damaged_json(rng, taken_apart.header)
    else:
        batch, facts = taken_apart.batches[at]
        taken_apart.batches[at] = (batch, damaged_json(rng, facts))
    return taken_apart.content(sealed=rng.randrange(8) > 0), True


def _one_header_fact(rng: random.Random, original: Original, path: Path) -> tuple[bytes, bool]:
    """A single number of the header, which readers divide by and allocate from."""
    taken_apart = _draft(original, path)
    numbers = [name for name, value in taken_apart.header.items() if isinstance(value, (int, float))]
    taken_apart.header[rng.choice(numbers)] = odd_number(rng)
    return taken_apart.content(), True


def _lying_alike(rng: random.Random, original: Original, path: Path) -> tuple[bytes, bool]:
    """A batch and the seal say the same untrue thing."""
    taken_apart = _draft(original, path)
    facts = rng.choice(taken_apart.facts)
    name = rng.choice([name for name, value in facts.items() if isinstance(value, int)] or ["rows"])
    by = rng.choice((-1, 1, 1 << 20, 1 << 40))
    for each in (facts, taken_apart.facts[-1]):
        if isinstance(each.get(name), int):
            each[name] += by
    return taken_apart.content(), True


def _columns(rng: random.Random, original: Original, path: Path) -> tuple[bytes, bool]:
    """Values of one column, of the slices' times, of carries or of offsets, in a batch."""
    content = original.content
    batches = [message for message in messages(InMemory(content)) if message.end > message.body_offset]
    if not batches:
        return content, False
    message = rng.choice(batches)
    forged = with_other_values(rng, content[message.offset : message.end])
    return resealed(content[: message.offset] + forged + content[message.end :]), True


def with_other_values(rng: random.Random, content: bytes) -> bytes:
    """The message of a record batch in which some bytes of one buffer are others; compressed buffers become plain."""
    message = next(messages(InMemory(content)))
    head = bytearray(content[: message.body_offset])
    body = content[message.body_offset :]
    buffers = batch_header(message).buffers
    pairs = head.index(struct.pack("<qq", *buffers[-1])) - 16 * (len(buffers) - 1)
    chosen = rng.choice([at for at, (_, length) in enumerate(buffers) if length > 8])
    parts: list[bytes] = []
    for at, (offset, length) in enumerate(buffers):
        stored = body[offset : offset + length]
        if at == chosen:
            size = struct.unpack_from("<q", stored)[0]
            plain = bytearray(stored[8:] if size < 0 else pa.Codec("zstd").decompress(stored[8:], size))
            for _ in range(rng.randint(1, 3)):
                place = rng.randrange(len(plain))
                plain[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, plain[place] ^ 1))
            stored = struct.pack("<q", -1) + plain
        begin = sum(map(len, parts))
        head[pairs + 16 * at : pairs + 16 * at + 16] = struct.pack("<qq", begin, len(stored))
        parts.append(stored + bytes(-len(stored) % 8))
    table = Table(memoryview(bytes(head[8:])), struct.unpack_from("<I", head, 8)[0])
    body_bytes = table.field(3)
    assert body_bytes is not None
    head[8 + body_bytes : 16 + body_bytes] = struct.pack("<q", sum(map(len, parts)))
    return bytes(head) + b"".join(parts)


def _lengths(rng: random.Random, original: Original, path: Path) -> tuple[bytes, bool]:
    """Lengths of arrays, or places of buffers, in the flatbuffer of a batch."""
    content = bytearray(original.content)
    batches = list(messages(InMemory(original.content)))[1:]
    if not batches:
        return original.content, False
    message = rng.choice(batches)
    eighths = range(message.offset + 8, message.body_offset - 7, 8)
    small = [at for at in eighths if struct.unpack_from("<q", content, at)[0] < 1 << 20]
    for _ in range(rng.randint(1, 2)):
        at = rng.choice(small or list(eighths))
        old = struct.unpack_from("<q", content, at)[0]
        new = rng.choice((0, old - 1, old + 1, old + 8, -1, 1 << 20, 1 << 28, 1 << 40, (1 << 63) - 1))
        content[at : at + 8] = struct.pack("<q", min(new, (1 << 63) - 1))  # the same place twice
    try:
        return resealed(bytes(content)), True
    except (DamageError, IndexError):
        return bytes(content), False


def _draft(original: Original, path: Path) -> Draft:
    path.write_bytes(original.content)
    return draft(path)


_WAYS = (_bytes, _forged_bytes, _messages, _facts, _one_header_fact, _lying_alike, _columns, _lengths)


# ---- checking


def check(made: Made) -> str:
    """Open it, read it, add it up; compare with what is there."""
    verify = made.path.stat().st_size // 8 % 2 == 0
    recording = open_recording(made.path, verify=verify)
    found = concatenate(list(recording.batches(by_thread=True)), len(recording.info.cache_bytes))
    if not made.forged:
        _compare_with_original(recording, found, made.original)
    _compare_with_arrow(recording, found, made)
    use(recording, found)
    return "accepted" if recording.info.verification is Verification.VERIFIED else "unverified"


def _differs(found: SliceBatch, expected: SliceBatch, what: str) -> None:
    for name in SliceBatch.__dataclass_fields__:
        left, right = getattr(found, name), getattr(expected, name)
        if left.shape != right.shape or not np.array_equal(left, right):
            raise Silent(f"{name} is not {what}")


def _compare_with_original(recording: Recording, found: SliceBatch, original: Original) -> None:
    if found.slices > original.whole.slices:
        raise Silent("more slices than were recorded")
    _differs(found, part(original.whole, 0, found.slices), "what was recorded")
    if replace(recording.info, verification=None, doubt="") != original.info:
        raise Silent("the header is not what was recorded")
    if recording.info.verification is Verification.VERIFIED and found.slices != original.whole.slices:
        raise Silent("verified, and slices are missing")


def _compare_with_arrow(recording: Recording, found: SliceBatch, made: Made) -> None:
    """Arrow's reader finds the same slices; of a truncated recording, at the beginning.

    It checks fields of the flatbuffers that pghot never reads. Where it stops at one, the slices must be the original.
    """
    try:
        expected = arrows_slices(made.path, len(recording.info.cache_bytes), found.slices, recording.runs)
    except (OSError, pa.ArrowException):
        _differs(
            found, part(made.original.whole, 0, found.slices), "what was recorded, and Arrow reads nothing"
        )
        return
    _differs(found, expected, "what Arrow reads")


def arrows_slices(path: Path, caches: int, slices: int, runs: bool) -> SliceBatch:
    """The first slices of a recording by Arrow's own reader, decoded row by row and page by page."""
    names = fmt.columns(caches, runs)
    starts: list[int] = []
    instructions: list[int] = []
    counts: list[int] = []
    columns: dict[str, list[int]] = {name: [] for name in names}
    with pa.ipc.open_stream(path.read_bytes()) as stream:
        while len(starts) < slices:
            for slice_ in stream.read_next_batch().to_pylist():
                starts.append(slice_["start_ns"])
                instructions.append(slice_["instructions"])
                rows = _rows(slice_, names)
                counts.append(len(rows))
                for name in names:
                    columns[name] += [row[name] for row in rows]
    misses = np.array([columns[f"misses{cache}"] for cache in range(caches)], np.uint32)
    return SliceBatch(
        np.array(starts, np.uint64),
        np.array(instructions, np.uint64),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        misses=misses[0],
        misses_by_cache=misses,
        **{name: np.array(columns[name], dtype) for name, dtype in ROW_DTYPES.items() if name != "misses"},
    )


def _rows(slice_: dict[str, Any], names: tuple[str, ...]) -> list[dict[str, int]]:
    rows = [{name: row[f"{name}_lo"] + 256 * row[f"{name}_hi"] for name in names} for row in slice_["rows"]]
    for carry in slice_["carries"]:
        name = names[carry["column"]]
        rows[carry["row"]][name] |= carry["upper"] << 16
    page = 0
    for row in rows:
        page += row["page"]
        row["page"] = page
    return [{**row, "page": row["page"] + more} for row in rows for more in range(row.get("pages", 1))]


def use(recording: Recording, found: SliceBatch) -> None:
    """What every verb does with a recording next: nothing of it may fail on what was accepted, and the sums agree."""
    summary = summarise(recording)
    for name in ("touches", "misses", "writes"):
        if summary[name] != int(getattr(found, name).sum(dtype=np.uint64)):
            raise Silent(f"the summary has other {name} than the rows")
    if summary["footprint_pages"] != len(np.unique(found.page)):
        raise Silent("the summary has another footprint than the rows")
    folios = coarsen(recording, max(1 << 21, recording.info.page_bytes))
    touches = sum(int(batch.touches.sum(dtype=np.uint64)) for batch in folios.batches())
    if touches != summary["touches"] and not cut_rows_of(folios):
        raise Silent("pages of 2 MiB have other touches, and no row was said to be cut")
    # A few: this takes longest. Of a damaged one that was opened without `verify` the commands would say so, and end.
    if recording.file_bytes // 8 % 16 == 0 and not recording.damage:
        _print(recording)
        _round_trip(recording, found)


def _print(recording: Recording) -> None:
    """The real command shows it, with nothing in it that moves a terminal, and says how far it can be believed."""
    said = _said("report", "summary", recording.path)
    odd = [each for each in said if not each.isprintable() and each != "\n"]
    if odd:
        raise Silent(f"the summary prints {odd[0]!r}")
    if recording.info.verification is not Verification.VERIFIED and (
        str(recording.info.verification) not in said
    ):
        raise Silent(f"the summary does not say that it is {recording.info.verification}")
    document = json.loads(_said("report", "summary", recording.path, "--json"), parse_constant=_no_json)
    if document["touches"] != recording.total_touches:
        raise Silent("the JSON of the summary has other touches")


def _no_json(constant: str) -> None:
    raise Silent(f"JSON with {constant}, which is none")


def _said(*arguments: str) -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(out):
        code = run(list(arguments))
    out.flush()
    if code:
        raise Silent(f"`pghot {' '.join(arguments)}` ends with {code}")
    return out.buffer.getvalue().decode()


def _round_trip(recording: Recording, found: SliceBatch) -> None:
    """Through Parquet and back it is the same, and believed as much."""
    path = Path(recording.path)
    table, back = path.with_name("round.parquet"), path.with_name("round.pghot")
    convert(path, table)
    convert(table, back)
    again = open_recording(back)
    same = concatenate(list(again.batches(by_thread=True)), len(again.info.cache_bytes))
    _differs(same, found, "what it was before Parquet")
    if (again.info, again.regions, again.pages) != (recording.info, recording.regions, recording.pages):
        raise Silent("the header is not what it was before Parquet")
