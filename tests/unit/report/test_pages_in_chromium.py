"""The pages in a real browser: nothing is asked for, complained of or clipped, and clicks and keys do their work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import pghot
from builders.accesses import trace_from_accesses
from builders.chromium import PROGRAM, Browser, Page
from builders.small_recordings import TWO_THREADS, recorded
from pghot.cli.main import run
from pghot.recording.trace import Region
from pghot.report.comparison_page import render

pytestmark = [pytest.mark.skipif(not PROGRAM, reason="not installed: chromium"), pytest.mark.heavy]

LONG = "/usr/lib/x86_64-linux-gnu/a-library-with-a-name-that-is-far-too-long-for-any-screen.so.6"
# What reaches beyond the window, or is wider than its own box, though nothing lets a reader scroll to it.
CLIPPED = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.wide, .columns, svg, script, .told') &&
(e.getBoundingClientRect().right > innerWidth + 1 || e.matches('.names *') && e.scrollWidth > e.clientWidth))
.map(e => e.outerHTML.slice(0, 200))"""
# The colour of the middle of the cell in a row and a bin, from the top left, as red, green, blue, opaque.
CELL = """(() => {{ const canvas = document.querySelector('canvas');
const facts = JSON.parse(document.querySelector('.heat>script').textContent), tops = facts.tops;
const y = (tops[{row}] + tops[{row} + 1]) / 2 / tops.at(-1), x = ({bin} + .5) / facts.bins;
const box = canvas.getBoundingClientRect();
return {{x: box.left + 10 + x * (box.width - 10), y: box.top + y * box.height, colour: [...canvas.getContext('2d')
.getImageData(10 + x * (canvas.width - 10), y * canvas.height, 1, 1).data]}} }})()"""
TEXT = "document.querySelector({!r}).textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def recording_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pages of heap, of which page n is hot in slice n, and one of a library that is always hotter."""
    folder = tmp_path_factory.mktemp("recording")
    regions = [Region(0, 10, 0, 0x10000, "[heap]"), Region(10, 1, 0, 0x90000, LONG)]
    slices = [{(n, 0): (10, 5, 1), (10, 1): (20, 20, 0)} for n in range(10)]
    path = recorded(folder / "a.pghot", slices, regions, TWO_THREADS, gap=2).path
    assert run(["report", path, "-o", str(folder / "a.html")]) == 0
    return folder / "a.html"


@pytest.fixture(scope="module")
def comparison_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("comparison") / "a.html"
    page = (np.random.default_rng(0).zipf(1.3, 60_000) % 2_000).astype(np.uint32)
    trace = trace_from_accesses(page, accesses_per_slice=1_000, name=LONG)
    result = pghot.compare(trace, policies=["numab2", "pghot-default"], sources=["abit"], duration_s=None)
    path.write_text(render(result, ["pghot", "compare"]))
    return path


@pytest.fixture(scope="module")
def difference_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("difference")
    regions = [Region(0, 10, 0, 0x10000, "[heap]"), Region(10, 1, 0, 0x90000, LONG)]
    paths = [
        recorded(folder / name, [{(0, 0): (9, 9, 0), (10, 0): (misses, misses, 0)}], regions).path
        for name, misses in (("a.pghot", 1), ("b.pghot", 9))
    ]
    assert run(["report", "diff", *paths, "-o", str(folder / "a.html")]) == 0
    return folder / "a.html"


def cell(page: Page, row: int, bin_: int) -> dict[str, object]:
    found: dict[str, object] = page.run(CELL.format(row=row, bin=bin_))
    return found


@pytest.mark.parametrize("width", [400, 900, 1600])
@pytest.mark.parametrize("which", ["recording_page", "comparison_page", "difference_page"])
def test_nothing_is_clipped_asked_for_or_complained_of_in_both_schemes(
    which: str, width: int, browser: Browser, request: pytest.FixtureRequest
) -> None:
    with browser.page(request.getfixturevalue(which), width) as page:
        for dark in (False, True):
            page.prefer(dark)
            assert page.run(CLIPPED) == []
            ground = page.run("getComputedStyle(document.body).backgroundColor")
            assert ground == ("rgb(22, 24, 27)" if dark else "rgb(255, 255, 255)")
        assert page.complaints == []
        assert page.requests == []
        assert page.run("document.querySelectorAll('.chart .main-svg').length") > 0


def test_colours_follow_the_scheme_and_print_is_light(recording_page: Path, browser: Browser) -> None:
    with browser.page(recording_page, 900) as page:
        light = cell(page, 10, 0)["colour"]
        assert light[3] == 255
        assert cell(page, 0, 1)["colour"] == [0, 0, 0, 0], "nothing at all is blank"
        page.prefer(True)
        dark = cell(page, 10, 0)["colour"]
        assert sum(dark[:3]) > sum(light[:3]), "the hotter, the further from the ground"
        ink = "getComputedStyle(document.querySelector('.chart text')).fill"
        assert page.run(ink) == "rgb(232, 232, 232)"
        curve = "getComputedStyle([...document.querySelectorAll('.chart')].at(1).querySelector('.js-line')).stroke"
        assert page.run(curve) == "rgb(232, 232, 232)", "of no region: the colour of the text"
        assert page.printed().startswith(b"%PDF-")
        assert cell(page, 10, 0)["colour"] == dark


def test_a_cell_tells_what_it_is_and_a_click_shows_the_life_of_its_memory(
    recording_page: Path, browser: Browser
) -> None:
    with browser.page(recording_page, 900) as page:
        assert page.run(TEXT.format(".life h3")) == LONG, "at first that of the region with most misses"
        at = cell(page, 3, 3)
        page.click(at["x"], at["y"])
        # 5 misses of one page in a slice of 1 ms
        assert page.run(TEXT.format(".told")) == (
            "[heap], 13000-14000, at 0.003 s: about 5K misses per page and second"
        )
        assert page.run(TEXT.format(".life h3")) == "[heap], 13000-14000"
        assert page.run(TEXT.format(".life p")) == "4.00 KiB touched, 5 misses (2.0 % of all)"
        page.press("ArrowRight")
        assert page.run(TEXT.format(".told")).endswith("at 0.004 s: no misses")
        page.press("ArrowDown")
        page.press("Enter")
        assert page.run(TEXT.format(".life h3")) == "[heap], 14000-15000"
        for _ in range(5):
            page.press("ArrowRight")
        assert page.run(TEXT.format(".told")).endswith("at 0.009 s: nobody looked")
        page.run(
            "[...document.querySelectorAll('.names button')].find(b => b.textContent === '[heap]').click()"
        )
        assert page.run(TEXT.format(".life p")) == "100 touches, 50 misses, 10 writes"
        assert page.complaints == []


def test_tables_are_sorted_by_keyboard(recording_page: Path, comparison_page: Path, browser: Browser) -> None:
    first = "document.querySelector('.sortable tbody td').textContent.trim()"
    head = "document.querySelector('.sortable').tHead.rows[0].cells[{}]"
    with browser.page(recording_page, 900) as page:
        page.run(f"{head.format(4)}.firstChild.focus()")
        page.press("Enter")
        assert page.run(first) == "[heap]", "the most writes"
        assert page.run(f"{head.format(4)}.ariaSort") == "descending"
        page.press("Enter")
        assert page.run(first) != "[heap]"
        assert page.run(f"{head.format(4)}.ariaSort") == "ascending"
        page.run(f"{head.format(0)}.firstChild.focus()")
        page.press("Enter")
        assert page.run(first) == "[heap]", "texts from the first; '/' comes before '[' only in ASCII"
        assert page.run(f"{head.format(4)}.ariaSort") is None
    with browser.page(comparison_page, 900) as page:
        values = (
            "[...document.querySelector('.sortable').tBodies[0].rows].map(row => +row.cells[3].dataset.v)"
        )
        page.run(f"{head.format(3)}.firstChild.focus()")
        page.press("Enter")
        down = page.run(values)
        assert down == sorted(down, reverse=True)
        page.press("Enter")
        assert page.run(values) == sorted(down)
