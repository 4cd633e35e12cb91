"""drmemtrace and ChampSim: figures by hand, every beginning of a file, damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.foreign import champsim, drmemtrace, imported, rows_of
from pghot.errors import PghotError, UsageError

# A thread and its process, an instruction that loads, a bundle of two, a call that stores, a marker, a prefetch.
ENTRIES = [
    (22, 4, 21548), (24, 4, 21548), (10, 4, 0x400110), (0, 8, 0x1000), (17, 2, 0x0304), (14, 5, 0x40011B),
    (1, 8, 0x1008), (28, 2, 13186525363117589), (3, 1, 0x9000), (0, 8, 0x2000),
]  # fmt: skip


def test_drmemtrace_has_loads_and_stores_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "thread.trace"
    path.write_bytes(drmemtrace(ENTRIES))
    recording = imported(path)
    # 0x1008 is in the line of 0x1000.
    assert rows_of(recording) == [(0, 1, 2, 1, 1), (0, 2, 1, 1, 0)]
    assert not any("footer" in said for said in recording.info.not_known)


def test_every_instruction_of_drmemtrace_takes_its_time(tmp_path: Path) -> None:
    path = tmp_path / "thread.trace"
    # 250 us are 500,000 instructions: 7 bundles of 65,535 are 458,745 of them, 41,255 are left.
    path.write_bytes(
        drmemtrace([(0, 8, 0x1000), *[(17, 65535, 0)] * 7, *[(48, 2, 0)] * 41_255, (0, 8, 0x2000)])
    )
    assert rows_of(imported(path)) == [(0, 1, 1, 1, 0), (250_000, 2, 1, 1, 0)]
    path.write_bytes(
        drmemtrace([(0, 8, 0x1000), *[(17, 65535, 0)] * 7, *[(48, 2, 0)] * 41_254, (0, 8, 0x2000)])
    )
    assert rows_of(imported(path)) == [(0, 1, 1, 1, 0), (0, 2, 1, 1, 0)]


def test_every_beginning_of_drmemtrace_is_counted_or_refused(tmp_path: Path) -> None:
    content = drmemtrace(ENTRIES)
    path = tmp_path / "thread.trace"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        if length < 12 * 5:  # the first load is the fifth entry
            with pytest.raises(UsageError):
                imported(path)
            continue
        recording = imported(path)
        assert ("left out" in recording.info.doubt) == bool(length % 12)
        assert any("no footer" in said for said in recording.info.not_known)


def test_an_entry_of_no_known_type_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "thread.trace"
    path.write_bytes(drmemtrace([*[(0, 8, 0x1000)] * 500, (77, 0, 0)]))
    with pytest.raises(PghotError, match="damaged at byte 6,012: an entry of type 77"):
        imported(path)


def test_champsim_loads_before_it_stores(tmp_path: Path) -> None:
    path = tmp_path / "x.champsim"
    path.write_bytes(
        champsim([(0x400000, [0x1040], [0x1000, 0x3000]), (0x400004, [], []), (0x400008, [], [0x1000])])
    )
    recording = imported(path)
    # Page 1: two loads, of which the second hits, and a store to the next line.
    assert rows_of(recording) == [(0, 1, 3, 2, 1), (0, 3, 1, 1, 0)]
    assert recording.total_sequential == 1


def test_every_beginning_of_champsim_is_counted_or_refused(tmp_path: Path) -> None:
    content = champsim([(0x400000 + i, [], [0x1000 * (i + 1)]) for i in range(3)])
    path = tmp_path / "x.champsim"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        if length < 64:
            with pytest.raises(UsageError):
                imported(path)
            continue
        recording = imported(path)
        assert recording.total_touches == length // 64
        assert ("left out" in recording.info.doubt) == bool(length % 64)


def test_what_is_no_instruction_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "x.champsim"
    good = champsim([(0x400000, [], [0x1000])] * 100)
    path.write_bytes(good + b"\xff" * 64)
    with pytest.raises(PghotError, match="damaged at byte 6,400: no instruction"):
        imported(path)
