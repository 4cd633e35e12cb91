"""The live view: rates and charts, panels on the service's own documents, the screen under textual's pilot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from builders.live_loop import START
from builders.view_documents import FIRST_PID, Show, show
from builders.view_screen import Bench
from pghot.cli.view_feed import Mailbox
from pghot.errors import PghotError
from pghot.live.stopping import StopSignals
from pghot.report.view.arrangement import WIDE, arranged, clock
from pghot.report.view.bars import cells, chart, gauge
from pghot.report.view.history import SPAN_S, Seen, StatusHistory
from pghot.report.view.parts import Picture
from pghot.report.view.screen import SILENT_S
from pghot.report.view.source_panel import budget_words
from pghot.units import format_short_size

# ---- bars, charts, units


@given(st.lists(st.integers(0, 1 << 50), max_size=6), st.integers(0, 60))
def test_a_bar_is_full_and_shows_each_part_that_there_is(amounts: list[int], width: int) -> None:
    given_cells = cells(amounts, width)
    assert min(given_cells, default=0) >= 0
    if sum(amounts) > 0:
        assert sum(given_cells) == width
        if width >= 2 * len(amounts):
            assert all(
                bool(count) == bool(amount) for count, amount in zip(given_cells, amounts, strict=True)
            )
            total = sum(amounts)
            # Off by a cell from rounding, and by one for each tiny part that is shown all the same.
            assert all(
                abs(count - width * amount / total) <= len(amounts)
                for count, amount in zip(given_cells, amounts, strict=True)
            )


@given(st.lists(st.none() | st.floats(0, 1e12), max_size=30), st.integers(1, 5))
def test_charts_are_as_high_as_what_they_show(values: list[float | None], rows: int) -> None:
    top = max((value for value in values if value is not None), default=0.0)
    lines = chart(values, rows, top)
    assert len(lines) == rows
    for column, value in enumerate(values):
        stack = [" ▁▂▃▄▅▆▇█".index(line[column]) for line in reversed(lines)]
        if value is None:
            assert sum(stack) == 0
        elif top > 0:
            assert abs(sum(stack) - 8 * rows * value / top) <= 1
            assert stack == sorted(stack, reverse=True)
        else:
            assert sum(stack) == 1


def test_a_gauge_is_never_longer_than_it_is() -> None:
    assert [gauge(share, 4) for share in (-1, 0, 0.5, 7)] == ["░░░░", "░░░░", "██░░", "████"]


@given(st.floats(0, 2**60))
def test_short_sizes_fit_their_column(size: float) -> None:
    text = format_short_size(size)
    assert len(text) <= 8 or size >= 1000 * 2**40
    number, unit = text.split()
    scale = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}[unit]
    assert abs(float(number) * scale - size) <= 0.0051 * size + 0.5


# ---- history


def document(seconds: float, promoted: int, sighted: int = 0) -> dict[str, Any]:
    """As much of a document as a history reads."""
    moves = {"promoted_pages": promoted, "demoted_pages": 0, "promoted_by_the_kernel_pages": 0}
    moves |= {"held_back": {}, "failed": {}}
    sources = [{"name": "idle", "counters": {"pghot_sightings": sighted}}]
    return {"seconds": seconds, "moves": moves, "counters": {}, "sources": sources, "nodes": []}


def test_a_steady_rise_is_one_rate_in_every_column_that_is_known() -> None:
    history = StatusHistory()
    for second in range(100):
        history.add(document(second, 50 * second, 7 * second))
    assert history.rate("promoted_pages") == 50
    assert history.rate("idle/pghot_sightings") == 7
    series = history.series("promoted_pages", 40, 200)
    assert series[:19] == [None] * 19
    assert series[-20:] == pytest.approx([50] * 20)


def test_before_two_documents_nothing_is_known() -> None:
    history = StatusHistory()
    assert history.rate("promoted_pages") is None
    history.add(document(3, 10))
    history.add(document(3, 10))
    assert history.rate("promoted_pages") is None
    assert history.series("promoted_pages", 3, 60) == [None] * 3


def test_another_run_begins_anew() -> None:
    history = StatusHistory()
    for second in (10, 11, 12):
        history.add(document(second, 1000 * second))
    history.add(document(1, 0))
    assert history.rate("promoted_pages") is None
    history.add(document(2, 5))
    assert history.rate("promoted_pages") == 5


@given(st.lists(st.tuples(st.floats(0.5, 20), st.integers(0, 1000)), min_size=2, max_size=60))
def test_the_columns_add_up_to_what_was_counted(steps: list[tuple[float, int]]) -> None:
    history, seconds, count = StatusHistory(), 0.0, 0
    history.add(document(0, 0))
    for step, more in steps:
        seconds, count = seconds + step, count + more
        history.add(document(seconds, count))
    columns, span_s = 30, 1500.0  # longer than all steps together
    width_s = span_s / columns
    known = history.series("promoted_pages", columns, span_s)
    last = int(seconds // width_s)
    total = 0.0
    for i, value in enumerate(known):
        low, high = (last - columns + 1 + i) * width_s, (last - columns + 2 + i) * width_s
        total += (value or 0.0) * max(0.0, min(high, seconds) - max(low, 0.0))
    if seconds < SPAN_S:
        assert total == pytest.approx(count)


def test_the_history_is_bounded() -> None:
    history = StatusHistory()
    for second in range(3000):
        history.add(document(second, second))
    assert len(history._seconds) == len(history._totals) == SPAN_S + 2
    assert None not in history.series("promoted_pages", 60, SPAN_S)


# ---- panels, on documents that the service made


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Show]:
    with show(tmp_path / "kernel", monkeypatch, max_cpu_percent=1000) as running:
        yield running


def text_of(columns: list[list[Text]]) -> str:
    return "\n".join(line.plain for column in columns for line in column)


def picture_of(running: Show) -> Picture:
    history = StatusHistory()
    for seen in running.documents:
        history.add(seen.status)
    last = running.documents[-1]
    return Picture(last.status, last.hot, history)


def line_with(text: str, words: str) -> str:
    found = [line for line in text.splitlines() if line.startswith(words)]
    assert len(found) == 1, (words, text)
    return found[0]


def test_the_panels_say_what_happened(running: Show) -> None:
    """92 pages are hot; 23 of them are busy and stay; the others go up, 276 KiB in the last of three seconds."""
    pid = FIRST_PID
    running.second()
    running.second()
    for page in range(23):
        running.kernel.busy[pid, START + page * 4096] = 99
    running.second((pid, 0, 92))
    text = text_of(arranged(picture_of(running), 80, 24))
    assert "69 pages" not in text
    assert line_with(text, "promoted").split()[1:3] == ["276", "KiB/s"]
    assert line_with(text, "promoted").endswith("total   276 KiB")
    assert line_with(text, "demoted").endswith("total       0 B")
    assert "7 % █" in line_with(text, "limit")
    assert "of 4 MiB/s; ping-pong guard off, 0 B back" in line_with(text, "limit")
    assert "EBUSY (pages); lowest free above floor" in line_with(text, "failed")
    assert line_with(text, "scripted").split()[1] == f"{92 * 13:,}/s"
    assert "nothing lost; what the test says" in text
    fast, slow = (line.split() for line in text.splitlines()[2:4])
    assert fast[:2] == ["0", "0"]
    assert slow[:2] == ["1", "1"]
    assert fast[-4:] == ["276", "KiB", "276", "KiB"]  # tracked and hot
    assert slow[-2:] == ["92.0", "KiB"]  # hot, and stayed
    # Neighbours on one node are a region: 23 pages below, 69 above.
    assert f"{START:#x}-{START + 23 * 4096:#x} 92.0 KiB    1" in text
    assert f"{START + 23 * 4096:#x}-{START + 92 * 4096:#x}  276 KiB    0" in text
    assert "server-0" in text


def test_a_dry_run_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with show(tmp_path / "kernel", monkeypatch, apply=False) as running:
        running.second()
        running.second((FIRST_PID, 0, 64))
        text = text_of(arranged(picture_of(running), 80, 24))
    assert "dry run" in line_with(text, "─ moves")
    assert line_with(text, "would move").endswith("total   256 KiB")
    assert "demoted" not in text
    assert "no CPU budget" in text


@pytest.mark.parametrize("size", [(80, 24), (100, 40), (160, 50), (220, 70), (40, 10)])
def test_no_line_is_wider_than_its_column(running: Show, size: tuple[int, int]) -> None:
    for second in range(40):
        running.second(*((FIRST_PID + i, 7 * second, 20) for i in range(3)))
    columns = arranged(picture_of(running), *size)
    assert len(columns) == (2 if size[0] >= WIDE else 1)
    for column in columns:
        assert max(line.cell_len for line in column) <= size[0] // len(columns)
        if size[0] >= 80:
            assert len(column) <= max(size[1], 22)


def test_everything_fits_the_small_terminal(running: Show) -> None:
    """24 lines less head and keys."""
    for second in range(10):
        running.second((FIRST_PID, 7 * second, 20))
    (column,) = arranged(picture_of(running), 80, 22)
    assert len(column) <= 22
    assert "…" not in text_of([column])


@pytest.mark.parametrize("width", [80, 160])
def test_what_is_wrong_stands_whole_above_the_nodes(running: Show, width: int) -> None:
    running.second()
    assert "degraded" not in text_of(arranged(picture_of(running), width, 24))
    running.source.wrong.append("the kernel scans no more: " + "word " * 20 + "; restart it")
    running.second()
    (first, *_) = columns = arranged(picture_of(running), width, 24)
    said = " ".join(text_of([first]).split("─ nodes")[0].split())
    assert said.startswith("degraded: scripted: the kernel scans no more: word")
    assert said.endswith("; restart it")
    assert max(line.cell_len for column in columns for line in column) <= width


def test_a_budget_that_is_not_kept_is_said_in_words() -> None:
    budget = {"max_cpu_percent": 10.0, "effort": 0.25}
    words = "".join(word if isinstance(word, str) else word[0] for word in budget_words(budget, 0.4))
    assert words == "over the budget of 10 % ████████; sampling 25 %"


@pytest.mark.parametrize("width", [140, 160])
def test_many_programs_and_counters(width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with show(tmp_path / "kernel", monkeypatch, programs=90) as running:
        running.second()
        running.second((FIRST_PID, 0, 30))
        text = text_of(arranged(picture_of(running), width, 30))
    assert "90 tracked" in text
    assert "more" in text
    promoted = line_with(text, "pgpromote_success").split()
    assert promoted == ["pgpromote_success", "30", "pages", "30/s"]
    assert "scripted/pghot_sightings" in text


def test_clock() -> None:
    assert [clock(seconds) for seconds in (0, 59.9, 3600, 100 * 3600)] == [
        "0:00:00",
        "0:00:59",
        "1:00:00",
        "100:00:00",
    ]


# ---- the screen


@pytest.fixture
def bench(running: Show) -> Bench:
    for second in range(6):
        running.second((FIRST_PID, 40 * second, 20))
    return Bench(list(running.documents))


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
def test_the_screen_shows_the_document(bench: Bench, size: tuple[int, int]) -> None:
    async def play(pilot: Any) -> None:
        assert "waiting for the first figures" in bench.shown
        await bench.next(pilot)
        await bench.next(pilot)
        for words in (
            "apply",
            "nodes",
            "promoted",
            "limit",
            "scripted",
            "CPU",
            "hot regions",
            "server-0",
            "q quit",
        ):
            assert words in bench.shown
        assert ("counters" in bench.shown) == (size[0] == 160)

    bench.run(play, size)


def test_resizing_lays_it_out_anew(bench: Bench) -> None:
    async def play(pilot: Any) -> None:
        await bench.next(pilot)
        assert "counters" not in bench.shown
        await pilot.resize_terminal(160, 50)
        await pilot.pause()
        assert "counters" in bench.shown
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert "counters" not in bench.shown

    bench.run(play)


def test_s_stops_the_screen_and_not_the_history(bench: Bench) -> None:
    async def play(pilot: Any) -> None:
        await bench.next(pilot)
        await pilot.press("s")
        assert "STOPPED" in bench.shown
        up = bench.shown.split("up ")[1][:7]
        await bench.next(pilot)
        await bench.next(pilot)
        assert bench.shown.split("up ")[1][:7] == up
        await pilot.press("s")
        assert "STOPPED" not in bench.shown
        await bench.next(pilot)
        assert bench.shown.split("up ")[1][:7] != up
        assert len(bench.view._history._seconds) == 4

    bench.run(play)


def test_help_opens_over_it_and_any_key_closes_it(bench: Bench) -> None:
    async def play(pilot: Any) -> None:
        await bench.next(pilot)
        await pilot.press("question_mark")
        assert "mean over its time" in bench.shown  # its last line
        await bench.next(pilot)
        await pilot.press("q")
        assert "mean over its time" not in bench.shown
        assert bench.view.is_running
        await pilot.press("q")
        assert bench.view.return_value == "quit"

    bench.run(play)


def test_ctrl_c_interrupts_also_over_the_help(bench: Bench) -> None:
    async def play(pilot: Any) -> None:
        await pilot.press("question_mark")
        await pilot.press("ctrl+c")

    bench.run(play)
    assert bench.interrupts == 1
    assert bench.view.return_value == "interrupt"


def test_a_source_of_documents_that_fails_is_named_with_the_age_of_the_figures(bench: Bench) -> None:
    async def play(pilot: Any) -> None:
        await bench.next(pilot)
        bench.feed.problem = "no pghot daemon at /x"
        bench.now_s += 12
        bench.view.look()
        await pilot.pause()
        assert "! trying again, figures are 12 s old: no pghot daemon at /x" in bench.shown
        bench.feed.problem = ""
        await bench.next(pilot)
        assert "trying again" not in bench.shown
        bench.now_s += SILENT_S + 1
        bench.view.look()
        await pilot.pause()
        assert "figures are 4 s old" in bench.shown

    bench.run(play)


def test_it_closes_when_nothing_comes_any_more(bench: Bench) -> None:
    async def play(pilot: Any) -> None:
        await bench.next(pilot)
        bench.feed.over = True
        bench.view.look()

    bench.run(play)
    assert bench.view.return_value is None
    assert not bench.view.return_code


# ---- the mailbox


def test_the_mailbox_holds_the_newest_and_gives_it_once() -> None:
    mailbox = Mailbox(StopSignals())
    assert mailbox.take() is None
    mailbox.fail(PghotError("gone"))
    assert mailbox.problem == "gone"
    for number in (1, 2):
        mailbox.put(Seen({"n": number}, ()))
    assert mailbox.problem == ""
    assert mailbox.take() == Seen({"n": 2}, ())
    assert mailbox.take() is None
    assert not mailbox.over
    mailbox.end()
    assert mailbox.over


def test_a_request_to_stop_ends_the_mailbox() -> None:
    stop = StopSignals()
    mailbox = Mailbox(stop)
    stop.ask()
    assert mailbox.over
    assert not stop.signalled


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_and_the_second_ends_it_at_once(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_DFL)  # the tests themselves may run under nohup
    try:
        with StopSignals() as stop:
            os.kill(os.getpid(), number)
            stop.sleep(10)
            assert stop.signalled
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_a_terminal_may_be_lost_under_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.asked
    finally:
        signal.signal(signal.SIGHUP, before)


def test_textual_is_loaded_by_the_screen_alone() -> None:
    code = """
import sys
import pghot.cli.main, pghot.cli.view, pghot.cli.run_viewed, pghot.report.view.arrangement
print("textual" in sys.modules)
import pghot.report.view.screen
print("textual" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
