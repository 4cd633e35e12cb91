"""What all importers share: numbering, the cache, slices; and that verbs take every format."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.foreign import imported, oracle_general, rows_of
from pghot.cli import progress
from pghot.cli.main import run
from pghot.errors import PghotError
from pghot.lab.traces import load_trace, trace_warnings
from pghot.recording import open_file as open_file_module
from pghot.recording.convert import Conversion, convert
from pghot.recording.importers.cache_model import CacheModel
from pghot.recording.importers.page_numbers import PageNumbers, regions_of
from pghot.recording.importers.slice_maker import SliceMaker
from pghot.recording.open_file import open_file
from pghot.recording.trace import Region
from references.recording.importers import lru_misses, slices_of

REQUESTS = [(i // 4, i % 7, 512, -1) for i in range(40)]


def test_a_file_is_a_trace_wherever_a_recording_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.oracleGeneral.bin"
    path.write_bytes(oracle_general(REQUESTS))
    trace = load_trace(path)
    assert trace.pages == 7
    assert any("each object counts as one page" in warning for warning in trace_warnings(trace))
    assert run(["report", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["touches"] == 40
    assert any("each object" in sentence for sentence in facts["not_known"])


def test_parquet_is_one_too(tmp_path: Path) -> None:
    path = tmp_path / "a.oracleGeneral.bin"
    path.write_bytes(oracle_general(REQUESTS))
    assert run(["convert", str(path), str(tmp_path / "a.pghot")]) == 0
    assert run(["convert", str(tmp_path / "a.pghot"), str(tmp_path / "a.parquet")]) == 0
    assert load_trace(tmp_path / "a.parquet").pages == 7


def test_packed_files_are_unpacked_and_a_cut_one_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.oracleGeneral.gz"
    packed = gzip.compress(oracle_general(REQUESTS))
    path.write_bytes(packed)
    assert imported(path).total_touches == 40
    path.write_bytes(packed[:-9])
    with pytest.raises(PghotError, match="cannot be unpacked after byte"):
        imported(path)


def test_it_is_imported_once_and_again_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comparison opens its recording for each seed."""
    imports: list[str] = []

    def counted(source: str, *rest: Any, **more: Any) -> Conversion:
        imports.append(source)
        return convert(source, *rest, **more)

    monkeypatch.setattr(open_file_module, "convert", counted)
    path = tmp_path / "a.oracleGeneral.bin"
    path.write_bytes(oracle_general(REQUESTS))
    first, again = open_file(str(path)), open_file(str(path))
    assert first is not again
    assert rows_of(first) == rows_of(again)
    assert len(imports) == 1
    path.write_bytes(oracle_general(REQUESTS[:20]))
    assert open_file(str(path)).total_touches == 20
    assert len(imports) == 2


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_progress_is_in_bytes_of_the_file_as_it_lies_there(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "a.oracleGeneral"
    size = path.write_bytes(pack(oracle_general([(i // 4, i * i % 1009, 512, -1) for i in range(200_000)])))
    said: list[tuple[int, int]] = []
    convert(path, tmp_path / "a.pghot", progress=lambda *both: said.append(both))
    assert len(said) > 2
    assert {total for _, total in said} == {size}
    assert said == sorted(said)
    assert 0 < said[0][0] < size
    assert said[-1][0] == size


@pytest.mark.parametrize("verb", ["report summary", "compare", "curve", "size", "convert"])
def test_an_import_that_takes_long_says_how_far_it_is(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file holds too little for a verdict: it is about what is said first."""
    monkeypatch.setattr(progress, "PATIENCE_S", 0.0)
    path = tmp_path / "a.oracleGeneral.bin"
    path.write_bytes(oracle_general([(i // 4000, i * i % 1009, 512, -1) for i in range(200_000)]))
    more = {
        "compare": ["--policies", "none", "--duration", "one-pass", "--seeds", "1"],
        "size": ["--policies", "none", "--duration", "one-pass", "--seeds", "1"],
        "convert": [str(tmp_path / "a.pghot")],
    }
    run([*verb.split(), str(path), *more.get(verb, [])])
    assert "importing " in capsys.readouterr().err


def test_pages_are_numbered_in_aligned_extents_in_the_order_of_their_touch() -> None:
    numbers = PageNumbers(9)
    dense, fresh = numbers.number(np.array([1024 + 3, 5, 1024, 2047], np.uint64))
    # Extents 2, 0 and 3 become 0, 1 and 2.
    assert dense.tolist() == [3, 512 + 5, 0, 1024 + 511]
    assert fresh.tolist() == [2, 0, 3]
    assert numbers.pages == 3 * 512
    assert regions_of(fresh, 0, 9) == [
        Region(0, 512, 0, 4 << 20, "[imported]"),
        Region(512, 512, 0, 0, "[imported]"),
        Region(1024, 512, 0, 6 << 20, "[imported]"),
    ]


@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=60), st.integers(1, 400))
def test_numbering_is_one_to_one_while_the_table_grows(pages: list[int], times: int) -> None:
    spread = [(page + 977 * i) & ((1 << 64) - 1) for i in range(times) for page in pages]
    numbers, number_of = PageNumbers(0), {}
    for part in np.array_split(np.array(spread, np.uint64), 3):
        dense, _ = numbers.number(part)
        for page, number in zip(part.tolist(), dense.tolist(), strict=True):
            assert number_of.setdefault(page, number) == number
    assert sorted(number_of.values()) == list(range(numbers.pages))


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 1)), max_size=300))
def test_the_cache_is_lru_in_each_set(accesses: list[tuple[int, int]]) -> None:
    # Lines that fall into one set of the 1024 of 1 MiB, below where higher bits are mixed in.
    address = np.array([line * 1024 * 64 for line, _ in accesses], np.uint64)
    space = np.array([space for _, space in accesses], np.uint16)
    expected = lru_misses(accesses, sets=1024, ways=16)
    assert CacheModel().misses(address, space).tolist() == expected


@given(
    st.lists(
        st.tuples(
            st.integers(-2, 3),
            st.integers(0, 4),
            st.integers(0, 63),
            st.integers(1, 9),
            st.booleans(),
            st.booleans(),
        ),
        min_size=1,
        max_size=60,
    ),
    st.integers(1, 5),
    st.sampled_from([1, 50_000]),  # with far pages, the words of some are loaded ahead
)
def test_slices_are_those_of_the_plain_way(
    steps: list[tuple[int, int, int, int, bool, bool]], parts: int, apart: int
) -> None:
    given_ns = 100 + np.cumsum([step[0] for step in steps])
    time_ns = np.maximum.accumulate(given_ns)
    late = sum(own != counted for own, counted in zip(given_ns.tolist(), time_ns.tolist(), strict=True))
    rows = [(int(time_ns[i] - time_ns[0]), step[1] * apart, *step[2:]) for i, step in enumerate(steps)]
    page, line, count, missed, write = (np.array(column) for column in list(zip(*rows, strict=True))[1:])
    maker, found = SliceMaker(2), []
    for part in np.array_split(np.arange(len(rows)), parts):
        address = (page * 4096 + line * 64)[part].astype(np.uint64)
        times, pages, counts = (
            given_ns[part].astype(np.uint64),
            page[part].astype(np.uint32),
            count[part].astype(np.uint32),
        )
        found += [maker.take(times, pages, address, counts, missed[part], write[part])]
    assert maker.late == late
    found.append(maker.rest())
    flat = [
        (int(batch.start_ns[i]), *(int(getattr(batch, name)[k]) for name in NAMES))
        for batch in found
        if batch is not None
        for i in range(batch.slices)
        for k in range(batch.offsets[i], batch.offsets[i + 1])
    ]
    assert flat == slices_of(rows, slice_ns=2)


NAMES = ("page", "touches", "misses", "sequential", "writes")


def test_a_column_of_one_item_is_the_same_for_all() -> None:
    address = np.array([0x1000, 0x1040, 0x2000, 0x1000], np.uint64)
    one, four = np.array([3], np.uint16), np.full(4, 3, np.uint16)
    assert CacheModel().misses(address, one).tolist() == CacheModel().misses(address, four).tolist()
    dense = [PageNumbers(0, 12).number(address, space)[0].tolist() for space in (one, four)]
    assert dense == [[0, 0, 1, 0]] * 2
    made = []
    for n in (1, 4):
        maker = SliceMaker(10)
        columns = np.full(n, 2, np.uint32), np.ones(n, np.bool_), np.ones(n, np.bool_)
        maker.take(np.zeros(4, np.uint64), np.array(dense[0], np.uint32), address, *columns)
        batch = maker.rest()
        assert batch is not None
        made.append([getattr(batch, name).tolist() for name in NAMES])
    # Page 0: three accesses of two each, of which one is of the line after the one before.
    assert made == [[[0, 1], [6, 2], [6, 2], [2, 0], [6, 2]]] * 2


def test_more_than_a_row_can_count_stops_at_the_most(tmp_path: Path) -> None:
    maker = SliceMaker(10)
    two = np.zeros(2, np.uint64), np.zeros(2, np.uint32), np.zeros(2, np.uint64)
    maker.take(*two, np.full(2, 0xFFFFFFF0, np.uint32), np.ones(1, np.bool_), np.zeros(1, np.bool_))
    batch = maker.rest()
    assert batch is not None
    assert batch.touches.tolist() == [0xFFFFFFFF]


def test_rows_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.oracleGeneral.bin"
    path.write_bytes(oracle_general(REQUESTS))
    assert sum(touches for _, _, touches, _, _ in rows_of(imported(path))) == 40
