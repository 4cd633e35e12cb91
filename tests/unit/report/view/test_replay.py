"""`pghot top RECORDING`: what a moment looks like, and the screen under textual's pilot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from builders.small_recordings import missing, recorded
from pghot.cli.main import run
from pghot.recording.activity import Activities
from pghot.recording.heat import Heat
from pghot.recording.time_bins import at_most
from pghot.recording.totals import PageTotals, read_once
from pghot.recording.trace import Region
from pghot.report.view.replay_screen import Replay
from pghot.report.view.tape import Tape, frame

REGIONS = (Region(0, 1, 0, 0x1000_0000, "[heap]"), Region(1, 1, 0, 0x2000_0000, "[stack]"))


@pytest.fixture
def tape(tmp_path: Path) -> Tape:
    """Four slices of 1 ms: the heap misses 4 times in the first, the stack 6 times and 2 times in the last two."""
    slices = [missing((0, 4)), missing((0, 0)), missing((0, 2), (1, 6)), missing((1, 2))]
    recording = recorded(tmp_path / "a.pghot", slices, REGIONS)
    time = at_most(recording, 512)
    heat, lives, totals = Heat(recording, "misses", time), Activities(recording, time), PageTotals(2)
    read_once(recording, heat, lives, totals)
    return Tape("demo", time, heat, totals, lives.result())


def lines(tape: Tape, at: int) -> list[str]:
    return [line.plain for line in frame(tape, at, 80, 22, colour=False)]


def test_a_moment_ranks_the_regions_by_what_they_miss_then(tape: Tape) -> None:
    """In the third millisecond the stack misses 6 times, 6000 a second, and the heap 2 times."""
    head, first, second, *_ = lines(tape, 2)
    assert head.split() == ["region", "misses", "/s", "share", "up", "to", "now"]
    assert first.split()[:5] == ["[stack]", "6", "k", "75.0", "%"]
    assert second.split()[:5] == ["[heap]", "2", "k", "25.0", "%"]
    assert first.endswith("  █"), "its most, after two milliseconds of nothing"
    assert second.endswith("█ ▄")
    assert lines(tape, 0)[1].split()[:5] == ["[heap]", "4", "k", "100.0", "%"]


def test_the_map_grows_with_time_and_keeps_its_colours(tape: Tape) -> None:
    """6 misses are the hottest cell of all, 4 and 2 are colder, whatever is shown."""

    def row(at: int, name: str) -> str:
        return next(line for line in lines(tape, at)[3:] if line.startswith(name)).rstrip()[25:]

    assert [row(at, "[heap]") for at in range(4)] == ["▓", "▓", "▓ ░", "▓ ░"]
    assert row(3, "[stack]") == "  █░"


def test_it_fits_the_screen(tape: Tape) -> None:
    for width, height in ((60, 10), (80, 22), (200, 60)):
        shown = frame(tape, 3, width, height, colour=True)
        assert len(shown) <= height
        assert max(line.cell_len for line in shown) <= width


class Bench:
    def __init__(self, tape: Tape, speed: float) -> None:
        self.now_s = 50.0
        self.screen = Replay(tape, speed, False, lambda: self.now_s)

    def run(self, play: Callable[[Any], Awaitable[None]]) -> None:
        async def main() -> None:
            async with self.screen.run_test(size=(80, 24)) as pilot:
                await play(pilot)

        asyncio.run(main())

    async def after(self, pilot: Any, seconds: float) -> None:
        self.now_s += seconds
        self.screen.look()
        await pilot.pause()

    @property
    def shown(self) -> str:
        return "\n".join(strip.text for strip in self.screen.screen._compositor.render_strips()[:24])


def test_keys(tape: Tape) -> None:
    """A thousandth of the speed: a millisecond of the recording takes a second."""
    bench = Bench(tape, speed=0.001)

    async def play(pilot: Any) -> None:
        await bench.after(pilot, 2.5)
        assert bench.screen.second == pytest.approx(0.0025)
        assert "demo · 2.50 ms of 4.00 ms · 0.001 times its speed" in bench.shown
        await pilot.press("s")
        await bench.after(pilot, 1)
        assert "STOPPED, s goes on" in bench.shown
        assert bench.screen.second == pytest.approx(0.0025)
        await pilot.press("left", "space", "plus")
        assert bench.screen.second == pytest.approx(0.0023), "a twentieth of 4 ms back"
        await bench.after(pilot, 0.5)
        assert bench.screen.second == pytest.approx(0.0033), "twice as fast"
        await bench.after(pilot, 100)
        assert "THE END, r plays it again" in bench.shown
        assert bench.screen.second == 0.004
        await pilot.press("r")
        assert bench.screen.second == 0
        await pilot.press("q")

    bench.run(play)
    assert bench.screen.return_code == 0


def test_without_a_terminal_it_says_what_prints_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["top", "bundled:redis-zipf"]) == 2
    assert "`pghot report heatmap` prints what it would show" in capsys.readouterr().err
