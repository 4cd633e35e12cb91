"""The history of the live view, and one region opened in it: on the service's own documents, and by hand."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.live_loop import ALWAYS, START, addresses
from builders.view_documents import FIRST_PID, Show, show
from builders.view_screen import Bench
from pghot.live.hot import HotRow
from pghot.live.sources.access_source import sightings_of
from pghot.policies.decisions import HeldBack
from pghot.report.view.arrangement import arranged
from pghot.report.view.history import StatusHistory
from pghot.report.view.hot_history import LEAST_S, SPAN_S, HotHistory, Range, columns, moves
from pghot.report.view.parts import PanelRoom, Picture
from pghot.report.view.region_panel import MEANING, region_lines

PAGE = 4096


def row(pid: int, first: int, pages: int, node: int, heat: int) -> HotRow:
    return {"pid": pid, "address": first * PAGE, "bytes": pages * PAGE, "node": node, "heat": heat}


def chosen(first: int, pages: int, pid: int = 1) -> Range:
    return Range(pid, first * PAGE, (first + pages) * PAGE)


# ---- the history of regions


def test_a_region_that_parts_and_moves_is_followed_by_its_addresses() -> None:
    """Pages 10 to 19. First inside a region of 20 pages with heat 40, so half of it; then parted, 4 pages of 10 on the
    fast node; then somebody else's only; then all of it on the fast node."""
    history = HotHistory()
    history.add(1, [row(1, 10, 20, 1, 40)])
    history.add(2, [row(1, 10, 4, 0, 9), row(1, 14, 6, 1, 3), row(2, 10, 10, 0, 99)])
    history.add(3, [row(2, 10, 10, 0, 99)])
    history.add(4, [row(1, 10, 10, 0, 7)])
    life = history.life(chosen(10, 10))
    assert [(look.seconds, look.heat, look.node) for look in life] == [
        (1, 20.0, 1),
        (2, 12.0, 1),
        (3, 0.0, None),
        (4, 7.0, 0),
    ]
    assert moves(life) == [(4, 1, 0)]


def test_columns_have_the_last_look_of_their_time() -> None:
    history = HotHistory()
    for second in (10, 11, 12, 18):
        history.add(second, [row(1, 0, 1, 0, second)])
    # Five columns of 4 s up to that of second 18: 0-3, 4-7, 8-11, 12-15, 16-19.
    heat = [look and look.heat for look in columns(history.life(chosen(0, 1)), 5, 20.0)]
    assert heat == [None, None, 11.0, 12.0, 18.0]
    assert columns([], 2, 20.0) == [None, None]


@given(st.lists(st.floats(0.01, 400), max_size=40))
def test_the_history_of_regions_is_bounded_in_time_and_number(steps: list[float]) -> None:
    history, now = HotHistory(), 0.0
    for step in steps:
        now += step
        history.add(now, [])
    times = [look.seconds for look in history.life(chosen(0, 1))]
    assert all(now - time <= SPAN_S + LEAST_S for time in times)
    assert all(after - before >= LEAST_S for before, after in pairwise(times))


def test_another_run_begins_a_new_history() -> None:
    history = HotHistory()
    history.add(100, [row(1, 0, 1, 0, 1)])
    history.add(1, [row(1, 0, 1, 0, 2)])
    assert [look.seconds for look in history.life(chosen(0, 1))] == [1]


def test_every_reason_has_its_words() -> None:
    assert set(MEANING) == set(HeldBack)


# ---- on documents that the service made


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Show]:
    """23 of 92 hot pages are busy and stay; the others go up in the third of four seconds. One is seen too seldom."""
    with show(tmp_path / "kernel", monkeypatch, max_cpu_percent=1000) as running:
        running.second()
        running.second()
        for page in range(23):
            running.kernel.busy[FIRST_PID, START + page * PAGE] = ALWAYS
        running.second((FIRST_PID, 0, 92))
        running.second((FIRST_PID, 0, 92))
        yield running


def picture_of(running: Show, at: Range | None = None) -> Picture:
    history, regions = StatusHistory(), HotHistory()
    for seen in running.documents:
        history.add(seen.status)
        regions.add(seen.status["seconds"], seen.hot)
    last = running.documents[-1]
    return Picture(last.status, last.hot, history, regions, at)


def test_the_share_on_the_fast_tier_is_shown_over_time(running: Show) -> None:
    picture = picture_of(running)
    text = "\n".join(line.plain for line in arranged(picture, 80, 24)[0])
    # 69 of 92 hot pages went up: 75 %; 92 pages are 368 KiB.
    assert picture.history.level("hot_on_fast") == 69 / 92
    (fast,) = [line for line in text.splitlines() if line.startswith("on fast")]
    assert fast.split()[:4] == ["on", "fast", "75.0", "%"]
    (hot,) = [line for line in text.splitlines() if line.startswith("hot  ")]
    assert hot.split()[1:3] == ["368", "KiB"]
    # Nothing was hot at first: then there is no share.
    assert picture.history.levels("hot_bytes", 4, 4.0)[-4:][:2] == [0, 0]
    assert picture.history.levels("hot_on_fast", 4, 4.0) == [None, None, 69 / 92, 69 / 92]


def test_an_opened_region_says_what_became_of_it_and_why(running: Show) -> None:
    low = Range(FIRST_PID, START, START + 23 * PAGE)
    text = "\n".join(
        line.plain for line in region_lines(picture_of(running, low), low, PanelRoom(80, span_s=SPAN_S))
    )
    assert f"{START:#x}-{START + 23 * PAGE:#x}, 92.0 KiB of server-0 ({FIRST_PID})" in text
    assert "not in this time, while it was hot" in text
    (busy,) = [line for line in text.splitlines() if line.startswith("EBUSY")]
    assert int(busy.split()[1].replace(",", "")) == running.documents[-1].status["moves"]["failed"]["EBUSY"]
    assert f"pghot report explain - {START:#x}" in text.replace("\n", " ")
    for why, count in running.documents[-1].status["moves"]["held_back"].items():
        assert any(line.startswith(why) and f" {count:,} " in line for line in text.splitlines())


def test_refusals_are_counted_by_reason_in_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five pages are seen once, where two accesses make a page hot; then a round in which nothing was seen."""
    with show(tmp_path / "kernel", monkeypatch) as running:
        running.source.says.append([sightings_of(FIRST_PID, addresses(500, 5))])
        held_back = running.second().status["moves"]["held_back"]
        assert held_back["threshold"] == 5
        assert set(held_back) == {"threshold", "nothing seen"}


# ---- the keys


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_keys_choose_a_region_open_it_and_close_it(running: Show, size: tuple[int, int]) -> None:
    bench = Bench(list(running.documents))

    async def play(pilot: Any) -> None:
        await pilot.press("enter")  # nothing there yet
        for _ in range(4):
            await bench.next(pilot)
        rows = [
            Range(each["pid"], each["address"], each["address"] + each["bytes"])
            for each in running.documents[-1].hot
        ]
        assert len(rows) == 2
        await pilot.press("j")
        assert bench.view._chosen == rows[0]
        await pilot.press("j", "j")
        assert bench.view._chosen == rows[1]
        await pilot.press("k", "enter")
        await pilot.pause()
        assert "left where they are" in bench.shown
        assert f"{rows[0].begin:#x}" in bench.shown
        assert "hot regions" not in bench.shown
        await pilot.press("escape")
        await pilot.pause()
        assert "hot regions" in bench.shown
        assert "left where they are" not in bench.shown

    bench.run(play, size)
