"""What a large host costs pghot: a round, an answer and a start at 2^25 and 2^28 tracked pages (1 TiB).

The pages are those of one program of a fake kernel, a third of them on the fast node; its answers cost next to
nothing, so that what is measured is pghot's own. Every bar is a ratio or a share within one run, of CPU time. What the
same round costs on a host of one section (reading /proc, Python) is reported, and taken off the ratios:

* an idle round beside a pass over the summaries of all sections, and, whole, as a share of a core at ten rounds a
  second;
* a round in which one section of a hundred is touched, 128 pages of each, beside a bare pass over what is kept for
  these sections;
* `status`, `pghot hot` by page and by region, and the coldest 512 pages, with one section of a hundred touched;
* what the journal says of a random tenth of 2^24 pages that moved, beside the number of tracked pages, and the memory
  that reading it takes, beside the number of moved ones; and the same of a journal that named each of these pages
  twice, in rounds of 1000 pages anywhere, after it was written anew.

`PGHOT_TIB_SHIFTS=25` takes only the smaller host: the larger one needs 4 GiB of free memory.
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from numba import njit

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from builders.live_loop import PAGE, START, FakeKernel, install, maps_line, register
from pghot.arrays import I32, U32, U64
from pghot.kernel.process import Identity
from pghot.live.hot import hottest
from pghot.live.journal import runs_of
from pghot.live.journal_lines import origins_facts
from pghot.live.journal_merge import merged
from pghot.live.journal_runs import LINE_RUNS, Line, line_of, pack, packed_line, pieces
from pghot.live.live_settings import LiveSettings
from pghot.live.loop import Live
from pghot.live.machine.sections import SECTION_PAGES
from pghot.live.sources.access_source import Sightings, sightings_of
from pghot.live.status import status
from pghot.live.targets import Targets
from pghot.sealed import seal

PID = 500
SHIFTS = tuple(int(shift) for shift in os.environ.get("PGHOT_TIB_SHIFTS", "25,28").split(","))
ROUND_MS = 100
ROUNDS, RUNS = 40, 40
ACTIVE_SHARE = 0.01
ACTIVE_PAGES = 128  # of each section and round: 100,000 a second at 1 TiB, perf's own limit by default
STATE_BYTES = 7
JOURNAL_PAGES = 1 << 24
ROUND_PAGES, STEP_MS, END = 1000, 20.0, object()
SESSION = {
    "format": 3,
    "boot_id": "8f5c1a3e-0000-4000-8000-000000000001",
    "writer": [500, 123456],
    "pid_namespace": "pid:[4026531836]",
}
IDLE_TIMES, ACTIVE_TIMES, ANSWER_MS, CORE_PERCENT, START_S = 2.0, 5.0, 50.0, 1.0, 1.0


@njit(cache=True)
def read_bare(data: U64) -> np.uint64:
    """The yardstick: all of it, once."""
    total = np.uint64(0)
    for i in range(data.shape[0]):
        total += data[i]
    return total


def cpu_seconds(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def cpu_ms(work: Callable[[], object], runs: int = 5) -> float:
    work()
    return min(cpu_seconds(work) for _ in range(runs)) * 1000


class Host:
    """A program with so many sections, all of them tracked, and a clock that the benchmark moves."""

    def __init__(self, tree: Path, patch: pytest.MonkeyPatch, sections: int) -> None:
        self.sections, self.now_ns = sections, 10**12
        kernel = FakeKernel(tree, mib=sections << 7, free_pages=(1 << 20, 1 << 20))
        kernel.program(PID, [maps_line(START, sections * SECTION_PAGES)])
        install(kernel, patch)
        patch.setattr("pghot.live.machine.placement.query_nodes", _nodes)
        self._source = register(patch)
        settings = LiveSettings(Targets((PID,)), ("scripted",), tracked_bytes=sections * SECTION_PAGES * PAGE)
        began = time.process_time()
        self._starts_ns: int | None = time.monotonic_ns()
        self.live = Live(kernel.root, settings, None, self._clock_ns)
        self.live.start()
        self.start_s = time.process_time() - began
        self.now_ns, self._starts_ns = self._clock_ns(), None
        while self.live.surveying:
            self.round()
        for section in range(sections):
            self.live.machine.locate(self._pages(section, np.arange(SECTION_PAGES)))

    def _clock_ns(self) -> int:
        """Real time while it starts: the first survey ends after half a second."""
        return self.now_ns + (time.monotonic_ns() - self._starts_ns if self._starts_ns else 0)

    def _pages(self, section: int, offset: npt.NDArray[np.int64]) -> U32:
        page, _ = self.live.spaces.lookup(np.full(len(offset), PID, np.int32), _address(section, offset))
        return page

    def round(self, touched: list[Sightings] | None = None) -> None:
        self.now_ns += ROUND_MS * 1_000_000
        if touched:
            self._source.says.append(touched)
        self.live.tick()

    def touched(self, seed: int) -> list[Sightings]:
        """Pages of the active sections, in no order."""
        rng = np.random.default_rng(seed)
        active = np.repeat(np.arange(self.active), ACTIVE_PAGES) * (self.sections // self.active)
        address = _address(active, rng.integers(0, 4 * ACTIVE_PAGES, len(active)))
        return [sightings_of(PID, rng.permutation(address))]

    @property
    def active(self) -> int:
        return max(1, int(self.sections * ACTIVE_SHARE))

    def rounds_ms(self, active: bool) -> float:
        """The mean of a round, of the fastest run: some things happen only every second, or two."""
        says = [self.touched(i) if active else None for i in range(ROUNDS)]
        took = [cpu_seconds(lambda: [self.round(each) for each in says]) for _ in range(RUNS)]
        return min(took) / ROUNDS * 1000


def _address(section: int | npt.NDArray[np.int64], offset: npt.NDArray[np.int64]) -> U64:
    page = np.asarray(section, np.int64) * SECTION_PAGES + offset
    return np.uint64(START) + page.astype(np.uint64) * np.uint64(PAGE)


def _nodes(pid: int, address: U64) -> I32:
    return ((address >> np.uint64(12)) & np.uint64(3) != 0).astype(np.int32)


@contextmanager
def host(sections: int) -> Iterator[Host]:
    with tempfile.TemporaryDirectory() as tree, pytest.MonkeyPatch.context() as patch:
        yield Host(Path(tree), patch, sections)


def measured(value: float, bar: float | None, unit: str, **more: float) -> dict[str, Any]:
    return {"value": value, "bar": bar, "ok": bar is None or value <= bar, "unit": unit, **more}


def bare_ms(size: int) -> float:
    data = np.ones(max(1, size // 8), np.uint64)
    return cpu_ms(lambda: read_bare(data), 15)


def run() -> dict[str, Any]:
    with host(1) as small:
        idle_ms, active_ms = (small.rounds_ms(active) for active in (False, True))
    found: dict[str, Any] = {
        "tib_idle_round_of_one_section": measured(idle_ms, None, "ms"),
        "tib_active_round_of_one_section": measured(active_ms, None, "ms"),
    }
    for shift in SHIFTS:
        with host(1 << shift - 15) as large:
            of_host = figures(large, idle_ms, active_ms)
            found |= {f"tib_{name}_2^{shift}": each for name, each in of_host.items()}
    return found | journal()


def journal() -> dict[str, Any]:
    rng = np.random.default_rng(23)
    page = np.flatnonzero(rng.random(JOURNAL_PAGES) < 0.1).astype(np.uint64) + np.uint64(START // PAGE)
    runs = runs_of(page, np.ones(len(page), np.uint8))
    parts = [runs[begin : begin + LINE_RUNS] for begin in range(0, len(runs), LINE_RUNS)]
    texts = [base64.b64encode(pack(part)).decode() for part in parts]
    tracemalloc.start()
    pages = sum(len(piece.vpn) for piece in pieces([line_of(text) for text in texts]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return rewritten_journal(page) | {
        "tib_journal": measured(sum(map(len, texts)) / JOURNAL_PAGES, 0.1, "bytes a tracked page"),
        "tib_undo_reads": measured(peak / pages, 8.0, "bytes a moved page at the peak"),
    }


def rewritten_journal(page: U64) -> dict[str, Any]:
    """Of these pages, each written twice in rounds."""
    rng = np.random.default_rng(23)
    lines, before = [], 0
    for vpn in (rng.permutation(page), rng.permutation(page)):
        for begin in range(0, len(vpn), ROUND_PAGES):
            moved = np.sort(vpn[begin : begin + ROUND_PAGES])
            lines.append(packed_line(runs_of(moved, np.ones(len(moved), np.uint8)), shared=False))
            before += line_bytes(lines[-1])
    written, steps = 0, []
    work = merged(lines)
    while True:
        began = time.process_time()
        each = next(work, END)
        steps.append(time.process_time() - began)
        if each is END:
            break
        written += line_bytes(each) if isinstance(each, Line) else 0
    return {
        "tib_journal_before_rewriting": measured(before / JOURNAL_PAGES, None, "bytes a tracked page"),
        "tib_journal_rewritten": measured(written / JOURNAL_PAGES, 0.1, "bytes a tracked page"),
        "tib_journal_step": measured(
            1000 * float(np.quantile(steps, 0.99)), STEP_MS, "ms of the longest 1 % of steps"
        ),
        "tib_journal_rewriting": measured(sum(steps), None, "s in all"),
    }


def line_bytes(line: Line) -> int:
    """As the file has it."""
    facts = origins_facts(Identity(PID, 100, (1, 2, 3)), "program", line.packed, line.shared)
    return len(seal(facts | SESSION)) + 1


def figures(host: Host, fixed_idle_ms: float, fixed_active_ms: float) -> dict[str, Any]:
    live = host.live
    active_ms = host.rounds_ms(active=True)
    answers = {
        "status": cpu_ms(lambda: status(live)),
        "hot_regions": cpu_ms(lambda: hottest(live.spaces, 20)),
        "hot_pages": cpu_ms(lambda: hottest(live.spaces, 20, "page")),
        "coldest": cpu_ms(lambda: live.machine.demotion.coldest(0, 512)),
    }
    idle_ms = host.rounds_ms(active=False)
    summaries_ms, sections_ms = (
        bare_ms(summary_bytes(live)),
        bare_ms(host.active * SECTION_PAGES * STATE_BYTES),
    )
    return {
        "idle_round": measured(
            max(0.0, idle_ms - fixed_idle_ms) / summaries_ms,
            IDLE_TIMES,
            "times a pass over the summaries",
            ms=idle_ms,
        ),
        "idle_core": measured(100 * idle_ms / ROUND_MS, CORE_PERCENT, "% of a core"),
        "active_round": measured(
            max(0.0, active_ms - fixed_active_ms) / sections_ms,
            ACTIVE_TIMES,
            "times a pass over the touched sections",
            ms=active_ms,
        ),
        **{name: measured(took, ANSWER_MS, "ms") for name, took in answers.items()},
        "start": measured(host.start_s, START_S, "s"),
    }


def summary_bytes(live: Live) -> int:
    """Of the places that pages are on: counts by level, the oldest, and the flags of the engine."""
    state = live.spaces.pages.state
    rows = int(state.rows[0])
    engine = 2 * len(live.spaces.table)
    return rows * (state.counts[0].nbytes + state.oldest[0].nbytes) + state.settled.nbytes + engine
