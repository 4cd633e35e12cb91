"""Nothing that was changed in a recording passes for verified, even where a forger computed new digests for it."""

from __future__ import annotations

import itertools
import json
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.forged import END_MARK, Draft, draft, resealed
from builders.recordings import INFO, all_slices, random_trace
from pghot.errors import PghotError
from pghot.recording import reader
from pghot.recording.convert import convert
from pghot.recording.framing import InMemory, messages
from pghot.recording.parquet import SEAL_KEY, table_schema
from pghot.recording.places import PLACE_SCHEMA
from pghot.recording.trace import MemoryTrace, Process, SliceBatch, Task, TraceInfo, Verification
from pghot.recording.writer import RecordingWriter, write_recording


def written(trace: MemoryTrace, flush_slices: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.pghot"
        with RecordingWriter(path, trace.info, flush_slices=flush_slices) as writer:
            writer.announce(trace.regions)
            for batch in trace.batches():
                writer.append(batch)
            writer.finish(exit_status=0)
        return path.read_bytes()


TRACE = random_trace(parts=3, slices=3, rows=5, info=replace(INFO, nodes=2), nodes=2)
WHOLE = all_slices(TRACE)
CONTENT = written(TRACE, flush_slices=3)
ENDS = [message.end for message in messages(InMemory(CONTENT))]
HEAD, *BATCHES, SEAL = [CONTENT[begin:end] for begin, end in pairwise([0, *ENDS])]


def state(content: bytes, monkeypatch: pytest.MonkeyPatch, whole: SliceBatch = WHOLE) -> str:
    """What a reader says of these bytes: "refused", or the `Verification` when all slices were read.

    "other data" when it read what was never written: something else than `whole` or its beginning.
    """
    monkeypatch.setattr(reader, "open_source", lambda path: InMemory(content))
    try:
        recording = reader.open_recording("a.pghot")
        found = all_slices(recording)
    except PghotError as error:
        return "refused" if error.hint and "\n" not in str(error) else "a refusal that helps nobody"
    for name in SliceBatch.__dataclass_fields__:
        column = getattr(found, name)
        if not np.array_equal(column, getattr(whole, name)[..., : column.shape[-1]]):
            return "other data"
    return str(recording.info.verification)


def test_the_original_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    assert state(CONTENT, monkeypatch) == "verified"
    assert state(resealed(CONTENT), monkeypatch) == "verified"


def test_every_single_bit_of_a_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each flip is refused, or what comes before it is read and called truncated."""
    trace = random_trace(slices=2, rows=3)
    whole = all_slices(trace)
    content = bytearray(written(trace, flush_slices=2))
    found = dict.fromkeys(["refused", "truncated"], 0)
    for at, bit in itertools.product(range(len(content)), range(8)):
        content[at] ^= 1 << bit
        said = state(bytes(content), monkeypatch, whole)
        assert said in found, f"{said} after bit {bit} of byte {at} was changed"
        found[said] += 1
        content[at] ^= 1 << bit
    assert sum(found.values()) == 8 * len(content)


@pytest.mark.parametrize("order", [o for o in itertools.product(range(3), repeat=3) if o != (0, 1, 2)])
@pytest.mark.parametrize("forge", [bytes, resealed], ids=["as they were", "with new digests"])
def test_batches_doubled_missing_or_in_another_order(
    order: tuple[int, ...], forge: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = HEAD + b"".join(BATCHES[number] for number in order) + SEAL + END_MARK
    assert state(forge(content), monkeypatch) == "truncated"


@pytest.mark.parametrize("kept", [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2, 2), (0, 0, 1, 2)])
@pytest.mark.parametrize("forge", [bytes, resealed], ids=["as they were", "with new digests"])
def test_more_or_fewer_batches(
    kept: tuple[int, ...], forge: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = HEAD + b"".join(BATCHES[number] for number in kept) + SEAL + END_MARK
    assert state(forge(content), monkeypatch) in ("truncated", "refused")


def test_a_batch_of_another_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same columns, number and times; only the chain knows that it is not from here."""
    other = written(
        random_trace(parts=3, slices=3, rows=5, info=replace(INFO, name="x", nodes=2), nodes=2), 3
    )
    middle = list(messages(InMemory(other)))[2]
    content = HEAD + BATCHES[0] + other[middle.offset : middle.end] + BATCHES[2] + SEAL + END_MARK
    assert state(content, monkeypatch) == "truncated"


@pytest.fixture(scope="module")
def taken_apart() -> Iterator[Callable[[], Draft]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.pghot"
        path.write_bytes(CONTENT)
        yield lambda: draft(path)


COUNTED = ("slices", "rows", "instructions", "touches", "writes", "sequential", "strided", "dependent")


@pytest.mark.parametrize("name", [*COUNTED, "batches", "misses", "footprint_pages", "pages"])
@pytest.mark.parametrize("by", [-1, 1])
def test_a_seal_whose_totals_lie(
    taken_apart: Callable[[], Draft], name: str, by: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = taken_apart()
    facts = forged.facts[-1]
    facts[name] = [facts[name][0] + by] if name == "misses" else facts[name] + by
    claims_room = name == "pages" and by > 0  # a dense space may be larger than what was touched of it
    assert state(forged.content(), monkeypatch) == ("verified" if claims_room else "refused")


@pytest.mark.parametrize("name", [*COUNTED, "misses", "footprint_pages", "first_ns", "last_ns", "number"])
@pytest.mark.parametrize("by", [-1, 1, 1 << 40])
def test_batches_and_a_seal_that_lie_alike(
    taken_apart: Callable[[], Draft], name: str, by: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last batch says something else, and the seal agrees: only the rows can show it."""
    forged = taken_apart()
    for facts in forged.facts[-2:]:
        if name in facts:
            facts[name] = [facts[name][0] + by] if name == "misses" else facts[name] + by
    assert state(forged.content(), monkeypatch) in ("refused", "truncated")


@pytest.mark.parametrize("value", [None, -1, 1.5, "5", True, 1 << 64, []])
@pytest.mark.parametrize("which", [1, -1], ids=["batch", "seal"])
@pytest.mark.parametrize("name", ["rows", "misses", "pages", "regions"])
def test_facts_that_are_none(
    taken_apart: Callable[[], Draft], which: int, name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = taken_apart()
    forged.facts[which][name] = value
    expected = ("verified",) if (name, value) == ("regions", []) else ("truncated", "refused")
    assert state(forged.content(), monkeypatch) in expected


def test_a_small_file_that_claims_a_large_space(
    taken_apart: Callable[[], Draft], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would have readers ask for arrays of 2^28 pages: for each page touched there may be one section."""
    forged = taken_apart()
    forged.facts[-1]["pages"] = 1 << 28
    assert len(forged.content()) < 16_000
    assert state(forged.content(), monkeypatch) == "truncated"
    forged.facts[-1]["pages"] = (1 << 20) + (1 << 15) * forged.facts[-1]["footprint_pages"]
    assert state(forged.content(), monkeypatch) == "verified"
    forged.facts[-1]["pages"] += 1
    assert state(forged.content(), monkeypatch) == "truncated"


def test_regions_beyond_the_claimed_space(
    taken_apart: Callable[[], Draft], monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = taken_apart()
    forged.facts[-1]["regions"] = [[0, 1 << 28, 0, 0, "", "anon", ""]]
    assert state(forged.content(), monkeypatch) == "truncated"
    for kind in ("heapish", None):
        forged.facts[-1]["regions"] = [[0, 5, 0, 0, "", kind, ""]]
        assert state(forged.content(), monkeypatch) == "truncated"


@pytest.mark.parametrize("times", [[0, 2, 1], [0, 0, 1], [5, 6, 1 << 63]])
def test_slices_that_do_not_ascend_in_time(
    taken_apart: Callable[[], Draft], times: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = taken_apart()
    batch, facts = forged.batches[0]
    forged.batches[0] = (batch.set_column(0, batch.schema.field(0), pa.array(times, pa.uint64())), facts)
    facts |= {"first_ns": times[0], "last_ns": times[-1]}
    assert state(forged.content(), monkeypatch) in ("refused", "truncated")


def test_columns_of_different_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each array of a batch in turn claims one item less, or none."""
    message = list(messages(InMemory(CONTENT)))[1]
    first = CONTENT.index(struct.pack("<qqqq", 3, 0, 3, 0), message.offset)
    nodes = 2 + 2 + 20 + 2 + 3
    for node, less in itertools.product(range(nodes), (1, 100)):
        content = bytearray(CONTENT)
        at = first + 16 * node
        length = struct.unpack_from("<q", content, at)[0]
        if length:
            content[at : at + 8] = struct.pack("<q", max(0, length - less))
            assert state(resealed(bytes(content)), monkeypatch) == "refused", node


# ---- Parquet


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parquet")
    (folder / "a.pghot").write_bytes(CONTENT)
    convert(folder / "a.pghot", folder / "a.parquet")
    return folder / "a.parquet"


def parquet_state(path: Path) -> str:
    """As `state`, of a table that is converted back."""
    target = path.with_suffix(".pghot")
    target.unlink(missing_ok=True)
    try:
        convert(path, target)
    except PghotError as error:
        return "refused" if error.hint and "\n" not in str(error) else "a refusal that helps nobody"
    recording = reader.open_recording(target)
    found = all_slices(recording)
    same = all(
        np.array_equal(getattr(found, name), getattr(WHOLE, name)) for name in SliceBatch.__dataclass_fields__
    )
    return str(recording.info.verification) if same else f"other data, {recording.info.verification}"


def test_a_table_keeps_its_seal(table: Path) -> None:
    assert parquet_state(table) == "verified"


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_sampled_bits_of_a_table(table: Path, data: st.DataObject) -> None:
    """A flip that changes nothing that is decoded may stay verified; whatever else was read never is."""
    content = bytearray(table.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    changed = table.with_name("changed.parquet")
    changed.write_bytes(content)
    assert parquet_state(changed) in ("refused", "verified", "unverified", "other data, unverified")


def rewritten(table: Path, change: Callable[[pa.Table], pa.Table], drop: str = "") -> str:
    """The state of the table after another program changed it, and lost one key of the metadata."""
    whole = pq.read_table(table)
    kept = {
        key: value
        for key, value in pq.read_metadata(table).metadata.items()
        if key.decode() not in ("ARROW:schema", drop)
    }
    changed = table.with_name("changed.parquet")
    pq.write_table(change(whole).replace_schema_metadata(kept), changed)
    return parquet_state(changed)


def with_one_more(table: pa.Table, name: str) -> pa.Table:
    """The first value of a column is another: one more, or a letter more. What is unknown becomes known."""
    place, field = table.schema.get_field_index(name), table.schema.field(name)
    values = table[name].to_pylist()
    number = not pa.types.is_dictionary(field.type)
    values[0] = (values[0] or 0) + 1 if number else (values[0] or "") + "x"
    return table.set_column(place, field, pa.array(values, field.type))


@pytest.mark.parametrize("name", [*table_schema(INFO).names, *PLACE_SCHEMA.names])
def test_a_changed_column_is_noticed(table: Path, name: str) -> None:
    assert rewritten(table, lambda whole: with_one_more(whole, name)) == "refused"


def test_rows_cut_off_doubled_or_in_another_order(table: Path) -> None:
    assert rewritten(table, lambda whole: whole.slice(0, len(whole) - 1)) == "refused"
    assert rewritten(table, lambda whole: whole.slice(1)) == "refused"
    assert rewritten(table, lambda whole: pa.concat_tables([whole, whole])) == "refused"
    assert rewritten(table, lambda whole: whole.take([1, 0, *range(2, len(whole))])) == "refused"


@pytest.mark.parametrize("key", ["pghot", "pghot.final", "pghot.regions", "pghot.empty_slices"])
def test_changed_metadata_is_noticed(table: Path, key: str) -> None:
    metadata = dict(pq.read_metadata(table).metadata)
    metadata.pop(b"ARROW:schema")
    metadata[key.encode()] += b" "
    changed = table.with_name("changed.parquet")
    pq.write_table(pq.read_table(table).replace_schema_metadata(metadata), changed)
    assert parquet_state(changed) == "refused"


def test_written_again_by_another_program_it_is_the_same(table: Path) -> None:
    assert rewritten(table, lambda whole: whole) == "verified"


def test_without_its_seal_a_table_is_unverified_and_stays_so(table: Path, tmp_path: Path) -> None:
    assert rewritten(table, lambda whole: whole, SEAL_KEY) == "unverified"
    assert rewritten(table, lambda whole: with_one_more(whole, "touches"), SEAL_KEY) == (
        "other data, unverified"
    )
    made = table.with_name("changed.pghot")
    convert(made, tmp_path / "b.pghot")
    convert(tmp_path / "b.pghot", tmp_path / "b.parquet")
    convert(tmp_path / "b.parquet", tmp_path / "c.pghot")
    info = reader.open_recording(tmp_path / "c.pghot").info
    assert (info.verification, info.doubt) == (
        "unverified",
        "it was made from Parquet without a seal, which cannot be checked",
    )


def test_a_seal_that_says_nothing_is_refused(table: Path) -> None:
    metadata = dict(pq.read_metadata(table).metadata)
    metadata.pop(b"ARROW:schema")
    whole = pq.read_table(table)
    for seal in (b"", b"[]", b"{}", json.dumps({"digest": "0" * 32}).encode()):
        changed = table.with_name("changed.parquet")
        pq.write_table(whole.replace_schema_metadata(metadata | {SEAL_KEY.encode(): seal}), changed)
        assert parquet_state(changed) == "refused"


# ---- everything survives, by hypothesis

words = st.text(st.characters(codec="utf-8"), max_size=8)
counts = st.integers(0, 2**32 - 1)


@st.composite
def traces(draw: st.DrawFn) -> MemoryTrace:
    """Small traces that use every field: nodes, processes, threads, caches, patterns, page sizes, samples left out."""
    caches = draw(st.integers(1, 3))
    nodes, threads = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    shape = {"nodes": nodes, "threads": threads, "caches": caches}
    trace = random_trace(
        parts=draw(st.integers(0, 3)),
        slices=draw(st.integers(1, 6)),
        rows=draw(st.integers(0, 9)),
        largest=draw(st.sampled_from([1, 255, 65536, 2**32 - 1])),
        **shape,
    )
    llc = draw(st.integers(0, 1 << 30))
    info = TraceInfo(
        name=draw(words),
        source=draw(words),
        slice_ns=draw(st.integers(1, 1 << 53)),
        ns_per_instruction=draw(st.floats(0, 1e5)),
        threads=draw(st.integers(1, 1 << 16)),
        llc_bytes=llc,
        llc_ways=draw(st.integers(0, 64)),
        mlp=draw(st.floats(0, 1e5)),
        sampling_period=draw(st.integers(1, 1 << 40)),
        lost=draw(st.integers(0, 1 << 62)),
        page_bytes=draw(st.sampled_from([4096, 1 << 21])),
        nodes=nodes,
        command=tuple(draw(st.lists(words, max_size=3))),
        kernel=draw(words),
        notes=tuple(draw(st.lists(words, max_size=3))),
        stored_bytes=draw(st.none() | st.tuples(st.integers(1, 4096), st.integers(1, 4096))),
        cache_bytes=tuple(llc + i for i in range(caches)),
        patterns=tuple(draw(st.lists(st.sampled_from(["sequential", "strided", "dependent"]), unique=True))),
        processes=tuple(Process(draw(st.integers(0, 1 << 22)), draw(words)) for _ in range(2)),
        tasks=tuple(
            Task(draw(st.integers(0, 1 << 22)), draw(st.integers(0, 1)), draw(words)) for _ in range(threads)
        ),
    )
    return replace(trace, info=info)


@settings(max_examples=60, deadline=None)
@given(traces())
def test_what_is_written_is_read_through_every_conversion(
    tmp_path_factory: pytest.TempPathFactory, trace: MemoryTrace
) -> None:
    folder = tmp_path_factory.mktemp("round")
    write_recording(folder / "a.pghot", trace, exit_status=3)
    convert(folder / "a.pghot", folder / "b.parquet")
    convert(folder / "b.parquet", folder / "c.pghot")
    convert(folder / "c.pghot", folder / "d.pghot")
    for name in ("a", "c", "d"):
        recording = reader.open_recording(folder / f"{name}.pghot", verify=True)
        assert recording.info == replace(trace.info, verification=Verification.VERIFIED)
        assert recording.pages == trace.pages
        assert recording.final["exit_status"] == 3
        batches = list(recording.batches(by_thread=True))
        assert sum(batch.slices for batch in batches) == sum(part.slices for part in trace.parts)
        for field in SliceBatch.__dataclass_fields__:
            if batches and field != "offsets":
                whole = np.concatenate([getattr(part, field) for part in trace.parts], axis=-1)
                found = np.concatenate([getattr(batch, field) for batch in batches], axis=-1)
                np.testing.assert_array_equal(found, whole, err_msg=field)
