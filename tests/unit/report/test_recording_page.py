"""The page of a recording and its pictures: complete, offline, exact, and safe with hostile names."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.small_recordings import TWO_THREADS, recorded
from pghot.cli.main import run
from pghot.recording.activity import Activities
from pghot.recording.heat import Heat, HeatMap
from pghot.recording.reader import Recording
from pghot.recording.summary import summarise
from pghot.recording.time_bins import at_most
from pghot.recording.totals import PageTotals, read_once
from pghot.recording.trace import Region
from pghot.report.heat_page import STEPS, heat_map
from pghot.report.recording_page import PageParts, render
from pghot.report.region_colours import OTHERS, RegionColours

HOSTILE = "</script><script>alert('x')</script>&\"name\x1b[2J"
REGIONS = [
    Region(0, 8, 0, 0x10000, "[heap]"),
    Region(8, 2, 0, 0x900000, HOSTILE),
    Region(10, 2, 0, 0x902000, "lib"),
]
# In slice n page n has 10 touches, 4 misses and 1 write; page 9 has 8 misses each time; page 10 is only touched.
SLICES = [
    {(n, 0): (10, 4, 1), (9, 1): (20, 8, 0), (10, 1): (1, 0, 0)} for n in range(8)
]  # fmt: skip


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return recorded(tmp_path / "a.pghot", SLICES, REGIONS, TWO_THREADS, gap=2)


def read(recording: Recording) -> tuple[HeatMap, Activities]:
    pages, time = PageTotals(recording.pages), at_most(recording, 16)
    heat, lives = Heat(recording, "misses", time), Activities(recording, time)
    read_once(recording, pages, heat, lives)
    return heat.map(pages, 16), lives


def facts_of(page: str) -> dict[str, Any]:
    """What the script of the heat map is told."""
    figure = page[page.index("<figure class=heat>") :]
    (text,) = re.findall(r"<script type='application/json'>(\{\"measure.*?)</script>", figure)
    facts: dict[str, Any] = json.loads(text)
    return facts


def test_a_byte_for_each_cell_says_how_hot_it_is(recording: Recording) -> None:
    found, lives = read(recording)
    facts = facts_of(heat_map(found, lives.result(), RegionColours(())))
    cells = np.frombuffer(gzip.decompress(base64.b64decode(facts["levels"])), np.uint8)
    levels = cells.reshape(len(facts["rows"]), facts["bins"])
    assert facts["bins"] == 10, "8 slices and 2 that are missing"
    assert facts["unseen"] == [[7, 9]]
    # Slices are 1 ms, rows one page: 4 misses are 4,000 per page and second, 8 are 8,000.
    assert (facts["least"], facts["most"], facts["unit"]) == (4e3, 8e3, "misses per page and second")
    by_place = {row["where"]: level.tolist() for row, level in zip(facts["rows"], levels, strict=True)}
    assert by_place["10000-11000"] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert by_place["17000-18000"] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "its slice comes after the gap"
    assert by_place["901000-902000"] == [STEPS] * 7 + [0, 0] + [STEPS]


def test_the_life_of_a_region_is_per_second_and_null_where_nobody_looked(recording: Recording) -> None:
    found, lives = read(recording)
    facts = facts_of(heat_map(found, lives.result(), RegionColours(["[heap]"])))
    hostile, heap, _ = facts["regions"]
    assert heap["name"] == "[heap]"
    assert heap["misses"] == [4e3] * 7 + [None, None, 4e3]
    assert heap["writes"] == [1e3] * 7 + [None, None, 1e3]
    assert heap["note"] == "80 touches, 32 misses, 8 writes"
    assert "\\x1b" in hostile["name"]
    assert (heap["colour"], hostile["colour"]) == ("#0072b2", OTHERS)


def test_rows_say_what_is_left_out_above_and_labels_do_not_overlap(recording: Recording) -> None:
    found, lives = read(recording)
    text = heat_map(found, lives.result(), RegionColours(()))
    facts = facts_of(text)
    assert [row["apart"] for row in facts["rows"]].count(True) == 2, "the first, and the one after the heap"
    tops = sorted(map(float, re.findall(r"style='top:([\d.]+)px'", text)))
    assert len(tops) >= 3
    assert all(after - before >= 16 for before, after in pairwise(tops))
    assert max(tops) + 16 <= facts["tops"][-1]


def test_the_page_is_whole_offline_small_and_escapes_names(
    recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.html"
    assert run(["report", recording.path, "-o", str(path)]) == 0
    out, err = capsys.readouterr()
    assert err.endswith(f"wrote {path}\n")
    assert "hottest 1.0 % of the pages" in out, "the terminal shows the report as well"
    page = path.read_text("utf-8")
    assert "<script>alert" not in page
    assert not re.search(r"<[^>]* (src|href)=", page[: page.index("id=plotly")])
    assert len(page) < 2_100_000, "most of it is Plotly, compressed"
    for said in ("verified, seal", "Hot set", "Working set over time", "Misses by region", "Writes by region",
                 "Hot ranges", "8 worker", "901000-902000", "not known: time is"):  # fmt: skip
        assert said in page, said
    assert run(["report", recording.path, "-o", str(path)]) == 2, "it is not overwritten"


@pytest.mark.parametrize(
    ("report", "has", "has_not"),
    [
        ("heatmap", "<figure class=heat>", "Working set over time"),
        ("wss", "Working set over time", "<figure class=heat>"),
        ("timeline", "Misses by region", "<figure class=heat>"),
    ],
)
def test_a_report_by_itself_is_a_page_and_a_picture(
    report: str, has: str, has_not: str, recording: Recording, tmp_path: Path
) -> None:
    page, again, names = tmp_path / "a.html", tmp_path / "b.png", ["a.png", "a.svg", "a.pdf"]
    outputs = [page, again, *(tmp_path / name for name in names)]
    assert (
        run(["report", report, recording.path, *(word for path in outputs for word in ("-o", str(path)))])
        == 0
    )
    assert has in page.read_text()
    assert has_not not in page.read_text()
    begins = [(tmp_path / name).read_bytes()[:5] for name in names]
    assert begins == [b"\x89PNG\r", b"<?xml", b"%PDF-"]
    assert again.read_bytes() == (tmp_path / "a.png").read_bytes(), "the same figures give the same bytes"


def test_the_page_shows_which_calls_mapped_the_memory(recording: Recording) -> None:
    """Of 96 misses 48 and 12 at the same call; a name from outside is escaped, and without sites there is no table."""
    _, lives = read(recording)
    parts = PageParts(summarise(recording), lives.result(), misses=np.array([96], np.uint64))
    assert "Which calls mapped it" not in render(parts, ["pghot"])
    sites = [
        {"frames": ["malloc+0x1 (libc.so.6)", "fill<b>+0x2 (demo)", "main+0x3 (demo)"], "misses": 48},
        {"frames": ["malloc+0x1 (libc.so.6)", "fill<b>+0x2 (demo)", "other+0x4 (demo)"], "misses": 12},
    ]
    facts = {
        **parts.facts,
        "misses": 96,
        "sites": [{**each, "pages": 2, "touches": 9, "writes": 3} for each in sites],
    }
    page = render(replace(parts, facts=facts), ["pghot"])
    (row,) = re.findall(r"<tr><td><details>.*?</tr>", page, re.DOTALL)
    told = re.sub(r"<[^>]*>", " ", row).split()
    assert told == [
        "fill&lt;b&gt;+0x2", "(demo)", "malloc+0x1", "(libc.so.6)", "fill&lt;b&gt;+0x2", "(demo)", "main+0x3",
        "(demo)", "16.0", "KiB", "60", "62.5", "%", "6",
    ]  # fmt: skip


def test_without_misses_the_page_says_what_is_missing(tmp_path: Path) -> None:
    touched = recorded(tmp_path / "a.pghot", [{(0, 0): (5, 0, 0)}], [Region(0, 4, 0, 0x1000, "[heap]")])
    page, picture = tmp_path / "a.html", tmp_path / "a.png"
    assert run(["report", touched.path, "-o", str(page)]) == 0
    text = page.read_text()
    assert "touches per page and second" in text
    assert "no cache misses were recorded: heat is touches" in text
    assert "Hot set" not in text
    assert run(["report", "heatmap", touched.path, "--of", "writes", "-o", str(picture)]) == 0
    assert run(["report", "heatmap", touched.path, "--of", "writes", "-o", str(page), "--force"]) == 0
    assert "No heat map: no writes were recorded." in page.read_text()


def test_a_page_is_the_only_file_of_a_whole_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "bundled:redis-zipf", "-o", "a.png"]) == 2
    assert "end the name in .html" in capsys.readouterr().err
