"""damo's records: figures by hand, every beginning of a file, and damo's own test data where it is there."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders.foreign import damo_records, imported, rows_of
from pghot.errors import PghotError, UsageError
from pghot.recording.importers.damo_records import DamoRecords
from pghot.recording.importers.input import Input, opened

MS = 1_000_000
KB = 1024
# Two targets; the second one's snapshots are of the same time as the first one's.
RECORDS = [
    [(5 * MS, [(0, 8 * KB, 3), (8 * KB, 64 * KB, 0)]), (105 * MS, [(4 * KB, 8 * KB, 20)])],
    [(105 * MS, [(4 * KB, 8 * KB, 1)])],
]
# The first snapshot begins the recording; the page of the second target is one of another address space.
ROWS = [(0, 0, 3, 3, 0), (0, 1, 3, 3, 0), (100 * MS, 1, 20, 20, 0), (100 * MS, 513, 1, 1, 0)]


@pytest.mark.parametrize("indent", [None, 4])
@pytest.mark.parametrize("packed", [True, False])
def test_each_page_of_a_region_has_its_samples(tmp_path: Path, indent: int | None, packed: bool) -> None:
    path = tmp_path / "damon.data"
    text = json.dumps(damo_records(RECORDS), indent=indent).encode()
    path.write_bytes(zlib.compress(text) if packed else text)
    recording = imported(path)
    assert rows_of(recording) == ROWS
    assert [(each.space, each.start_address) for each in recording.regions] == [(0, 0), (1, 0)]
    assert any("pages of a region are not told apart" in said for said in recording.info.not_known)


@pytest.mark.parametrize("before", range(8))
def test_blanks_of_any_number_at_any_place_say_nothing(tmp_path: Path, before: int) -> None:
    """Eight are passed at a time: where that begins depends on what is before."""
    path = tmp_path / "damon.data"
    for indent in range(20):
        path.write_text(" " * before + json.dumps(damo_records(RECORDS), indent=indent))
        assert rows_of(imported(path)) == ROWS


def test_a_path_with_braces_does_not_confuse_it(tmp_path: Path) -> None:
    path = tmp_path / "damon.data"
    records = damo_records(RECORDS)
    records[0]["scheme_filters"] = [
        {"memcg_path": '/a}{"start": 5', "address_range": {"start": "1", "end": "0"}}
    ]
    path.write_text(json.dumps(records, indent=4))
    assert rows_of(imported(path)) == ROWS


def test_every_beginning_of_a_file_is_refused_or_says_that_its_end_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "damon.data"
    text = json.dumps(damo_records(RECORDS))
    for length in range(len(text) - 1):
        path.write_text(text[:length])
        try:
            recording = imported(path)
        except UsageError:
            continue
        rows = rows_of(recording)
        assert rows == ROWS[: len(rows)]
        assert any("ends in the middle" in said for said in recording.info.not_known)


def test_what_is_cut_off_while_it_is_packed_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "damon.data"
    whole = zlib.compress(json.dumps(damo_records(RECORDS)).encode())
    for length in range(2, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(PghotError, match=r"cannot be unpacked after byte|of no format"):
            imported(path)


def test_impossible_addresses_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "damon.data"
    wrong: list[Any] = [[(0, [(0, 4 * KB, 1), (8 * KB, 4 * KB, 1), (0, 1 << 60, 1)])]]
    path.write_text(json.dumps(damo_records(wrong)))
    recording = imported(path)
    assert recording.total_touches == 1
    assert "left out: 2 regions of impossible addresses" in recording.info.doubt


def test_text_that_is_not_damos_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('[{"snapshot": 5}]')
    with pytest.raises(UsageError, match='the text "\\['):
        imported(path)


def regions_of(path: Path) -> list[tuple[int, ...]]:
    """(time, start, end, samples, record) of each region that was accessed."""
    with opened(path) as source:
        return list(zip(*DamoRecords(source).regions().tolist(), strict=True))


def written(value: Any, draw: st.DrawFn) -> str:
    """JSON with blanks that change from place to place."""
    blank = draw(st.sampled_from(["", " ", "\n        ", "\t"]))
    if isinstance(value, dict):
        after = draw(st.sampled_from(["", " ", "  "]))
        parts = [f'"{key}":{after}{written(each, draw)}' for key, each in value.items()]
        return "{" + blank + ("," + blank).join(parts) + blank + "}"
    return json.dumps(value)


@st.composite
def snapshots_in_any_hand(draw: st.DrawFn) -> tuple[str, list[tuple[int, ...]]]:
    """A record's text, and its accessed regions. Between two numbers there is mostly what was there before."""
    regions: list[dict[str, Any]] = []
    expected: list[tuple[int, ...]] = []
    for _ in range(draw(st.integers(0, 12))):
        start, size, samples = (draw(st.integers(0, most)) for most in (1 << 40, 1 << 20, 3))
        age = draw(st.integers(0, 2000))
        region: dict[str, Any] = {"start": f"{start:,}", "end": f"{start + size:,}"}
        region["nr_accesses"] = {"samples": samples}
        region |= draw(st.sampled_from([{"age": {"usec": None, "aggr_intervals": age}}, {}, {"more": '{["'}]))
        regions.append(region)
        if samples:
            expected.append((7, start, start + size, samples, 0))
    as_damo = draw(st.booleans())
    texts = [json.dumps(each, indent=4) if as_damo else written(each, draw) for each in regions]
    head = '[{"kdamond_idx": 0, "target_id": 1, "snapshots": [{"start_time": "7", "regions": ['
    return head + ",\n".join(texts) + "]}]}]", expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(snapshots_in_any_hand(), st.sampled_from([64, 1000, 1 << 20]))
def test_what_is_between_two_numbers_may_change_at_any_region(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: tuple[str, list[tuple[int, ...]]], block: int
) -> None:
    text, expected = made
    path = tmp_path / "damon.data"
    path.write_text(text)
    blocks = Input.blocks
    with monkeypatch.context() as patched:
        patched.setattr(Input, "blocks", lambda source: blocks(source, block))
        assert regions_of(path) == expected


def test_text_without_an_end_is_refused_with_its_place_before_much_of_it_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "damon.data"
    start = '[{"snapshots": [{}'  # 18 bytes up to the last brace
    path.write_text(start + "x" * 3_000_000)
    with pytest.raises(PghotError, match="is damaged at byte 18: no record of damo"):
        imported(path)
