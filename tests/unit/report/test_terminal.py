"""Pictures of characters: what is drawn where, in colour and without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pghot.recording.address_rows import Row
from pghot.recording.heat import HeatMap
from pghot.recording.time_bins import TimeBins
from pghot.report import hot_set_text
from pghot.report.heat_colours import STEPS, scale
from pghot.report.heat_levels import heat_of, levels_of
from pghot.report.heat_text import render

HEAP = Row(0, 0x1000, 0x3000, "[heap]", "heap", 1, 2, 0, False, None)
STACK = Row(0, 0x9000, 0xA000, "[stack]\x1b", "stack", 3, 1, 0, False, 0x6000)
# Two pages with 2000 misses in a second, and one with 1000, are as hot. Five decades below them is the coldest shade.
MAP = HeatMap(
    "demo",
    "misses",
    4096,
    TimeBins(0, 1_000_000_000, 4),
    (HEAP, STACK),
    np.array([[2000, 0, 20, 0], [1000, 1, 100, 0]], np.uint64),
    np.array([True, True, True, False]),
)


def plain(found: HeatMap) -> list[str]:
    return [line.plain for line in render(found, colour=False)]


def test_heat_is_for_each_page_and_second_in_shades_of_equal_ratios() -> None:
    # From 1 to 1000 in four shades: a shade is a factor of 5.6. 20 misses of two pages are 10: above 5.6, below 32.
    assert plain(MAP) == [
        "[heap]                  ┆█ ▒?",
        r"[stack]\x1b +2          ┆█░▓?",
        " " * 25 + "0 s",
        "misses per page and second: ░ from 1  ▒ from 5.6  ▓ from 32  █ from 178",
        "a column is 1.00 s; +N: with N smaller regions; ┆ addresses left out above; ? nobody looked",
    ]


def test_colours_say_the_same() -> None:
    heap, *_ = render(MAP, colour=True)
    hot, warm = heap.spans[0].style, heap.spans[1].style
    assert heap.plain.endswith("┆   ?")
    assert len(heap.spans) == 2, "no colour where there is no heat"
    assert hot != warm


def test_cold_and_unknown_rows_are_named() -> None:
    cold = replace(HEAP, folded=True, pages=512, gap_bytes=0)
    again = replace(STACK, regions=1)
    rows = (STACK, cold, replace(STACK, start_address=None, end_address=None, gap_bytes=None), again)
    lines = plain(replace(MAP, rows=rows, cells=np.ones((4, 4), np.uint64)))
    assert lines[1].startswith("  cold, 2.00 MiB        │")
    assert lines[2].startswith(r"[stack]\x1b +2")
    assert lines[3].startswith("  0x9000                ┆"), "the region goes on after a gap"


def test_an_empty_map_says_why() -> None:
    assert plain(replace(MAP, rows=(), cells=np.zeros((0, 4), np.uint64))) == [
        "no heat map: nothing was touched"
    ]
    assert plain(replace(MAP, cells=MAP.cells * np.uint64(0))) == ["no heat map: no misses were recorded"]
    assert hot_set_text.curve(np.zeros(9), 4096) == ["no hot-set curve: no cache misses were recorded"]


def test_equal_heat_has_one_colour() -> None:
    flat = replace(MAP, cells=np.array([[2, 2, 2, 2], [1, 1, 1, 1]], np.uint64))
    heat = heat_of(flat)
    assert set(levels_of(flat, heat).of(heat, 4).ravel().tolist()) == {3}, "the hottest: nothing is colder"


@pytest.mark.parametrize("dark", [False, True])
def test_lightness_alone_says_the_heat(dark: bool) -> None:
    """So it is seen by who sees no hues, and in print. Relative luminance as in WCAG 2."""

    def linear(value: int) -> float:
        share = value / 255
        return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4

    luminance = [0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b) for r, g, b in scale(dark)]
    steps = np.diff(luminance)
    assert len(luminance) == STEPS
    assert (steps > 0).all() if dark else (steps < 0).all()
    assert max(luminance) > 0.7
    assert min(luminance) < 0.03


def test_the_curve_has_a_column_for_each_share() -> None:
    lines = hot_set_text.curve(np.array([0.0, 0.25, 0.5, 1.0]), 1 << 30)
    # Six lines: a quarter is one line and a half, a half three.
    assert lines[1:7] == [
        "100 %    █",
        "         █",
        "         █",
        " 50 %   ██",
        "       ▄██",
        "       ███",
    ]
