"""How much fast memory keeps a slowdown: for each policy, by bisection over the fast tier's share of the footprint.

All runs are simulated at a few shares first. Where the slowdown of a run falls below the wanted one, the gap is halved
until it is narrow, each time for those runs alone whose answer lies in it. The answer of a seed is read off the
straight lines through its slowdowns, and the seeds give its interval. Should a run get slower again with more fast
memory, the answer is the share beyond which no share that was tried is slower than wanted. Where the tiers have prices,
every share has a cost, and so has the answer of each seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import sub
from pathlib import Path

from pghot.errors import UsageError
from pghot.lab.compare import compare, default_sources, plan_runs
from pghot.lab.comparison_setup import Setup
from pghot.lab.cost import memory_cost
from pghot.lab.evidence import refuse, too_little
from pghot.lab.metrics import mean_and_interval
from pghot.lab.outcomes import SummaryRow
from pghot.lab.results import Comparison
from pghot.lab.run_spec import labels
from pghot.lab.setting import Setting
from pghot.lab.sizes import ALL_FAST, Point, Size, Sizes
from pghot.recording.trace import Trace
from pghot.sim.machine.topology import Topology, load_topology
from pghot.units import format_number

FIRST = (0.05, 0.2, 0.4, 0.7, 0.95)
NARROW = 0.02  # of the footprint
BOUNDS = (ALL_FAST, "all-slow")


class Search:
    """Which shares to try next, and what is known.

    >>> search = Search(1.1)
    >>> search.add("a", 0.2, [1.3])
    >>> search.add("a", 0.4, [1.05])
    >>> search.bracket("a"), search.next_shares()
    ((0.2, 0.4), {0.3: ['a']})
    """

    def __init__(self, slowdown: float) -> None:
        self.slowdown = slowdown
        self._found: dict[str, dict[float, list[float]]] = {}

    def add(self, label: str, share: float, slowdowns: Sequence[float]) -> None:
        """The slowdowns of a run at a share, one for each seed."""
        self._found.setdefault(label, {})[share] = list(slowdowns)

    def bracket(self, label: str) -> tuple[float, float | None]:
        """Shares between which the mean slowdown falls below the wanted one: see `Size`."""
        least: float = 0.0
        most: float | None = None
        for share, slowdowns in sorted(self._found[label].items()):
            if sum(slowdowns) / len(slowdowns) > self.slowdown:
                least, most = share, None
            elif most is None:
                most = share
        return least, most

    def next_shares(self) -> dict[float, list[str]]:
        """Shares in the middle of brackets that are not narrow, in whole percent, with their runs."""
        found: dict[float, list[str]] = {}
        for label in self._found:
            least, most = self.bracket(label)
            if most is not None and round(most - least, 6) > NARROW:
                found.setdefault(round((least + most) / 2 + 1e-9, 2), []).append(label)
        return found

    def most_left(self) -> int:
        """The most runs that are still to come."""
        brackets = [self.bracket(label) for label in self._found]
        return sum(halvings(most - least) for least, most in brackets if most is not None)

    def answers(self, label: str) -> list[float | None]:
        """The share at which each seed reaches the wanted slowdown; None: at none that was tried."""
        points = self.tried(label)
        return [
            self._crossing([(share, slowdowns[seed]) for share, slowdowns in points])
            for seed in range(len(points[0][1]))
        ]

    def _crossing(self, points: Sequence[tuple[float, float]]) -> float | None:
        slow = [place for place, (_, slowdown) in enumerate(points) if slowdown > self.slowdown]
        if not slow:
            return points[0][0]
        if slow[-1] == len(points) - 1:
            return None
        (share, slowdown), (beyond, faster) = points[slow[-1] : slow[-1] + 2]
        return share + (slowdown - self.slowdown) / (slowdown - faster) * (beyond - share)

    def at_largest(self, label: str) -> float | None:
        """Mean slowdown at the largest share, None if that is without end."""
        slowdowns = self._found[label][max(self._found[label])]
        mean = sum(slowdowns) / len(slowdowns)
        return None if math.isinf(mean) else mean

    def tried(self, label: str) -> list[tuple[float, list[float]]]:
        """The shares that were tried for this run, ascending, with the slowdowns of the seeds."""
        return sorted(self._found[label].items())

    def shares(self) -> list[float]:
        """All that were tried."""
        return sorted({share for tried in self._found.values() for share in tried})


def halvings(gap: float) -> int:
    """How often a gap between shares is halved, to whole percents, until it is narrow.

    >>> halvings(0.02), halvings(0.05), halvings(0.3)
    (0, 2, 4)
    """
    percent, count = round(100 * gap), 0
    while percent > 100 * NARROW:
        percent, count = (percent + 1) // 2, count + 1
    return count


def size(
    recording: str | Path | Trace,
    tiers: str | Path | Topology = "dram-cxl",
    policies: Sequence[str] = ("all",),
    sources: Sequence[str] = (),
    *,
    slowdown: float,
    setting: Setting | None = None,
    classes: Sequence[str] = (),
    options: Sequence[str] = (),
    scale: float = 1.0,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Sizes:
    """The share of the footprint that each run needs so as to take at most `slowdown` times as long as all fast memory.

    scale  times as long as these tiers' fast memory alone takes the one that all slowdowns compare with: another
           machine may be faster

    The other arguments are those of `compare`; `setting.fast_share` is not used. Raises `UsageError` for a slowdown
    that is none, and for a recording with too little in it.
    """
    if not 1 < slowdown <= 100:
        raise UsageError(
            f"a slowdown of {format_number(100 * (slowdown - 1), 4)} % cannot be kept",
            "give more, as in --slowdown 5%",
        )
    topology = tiers if isinstance(tiers, Topology) else load_topology(tiers)
    planned = plan_runs(policies, sources or default_sources(topology), classes)
    specs = {
        label: spec for label, spec in zip(labels(planned), planned, strict=True) if spec.policy not in BOUNDS
    }
    base, search = setting or Setting(), Search(slowdown)
    tried: list[Comparison] = []
    pending = {share: list(specs) for share in sorted(FIRST, reverse=True)}
    widest = max(map(sub, FIRST[1:], FIRST))
    done, left = 0, len(specs) * (len(FIRST) + halvings(widest))
    while pending:
        total = done + left
        for share, wanted in pending.items():
            result = compare(
                recording, topology, [specs[label] for label in wanted], setting=replace(base, fast_share=share),
                options=options, workers=workers, progress=_part_of(progress, done, len(wanted), total),
            )  # fmt: skip
            refuse("how much fast memory keeps a slowdown", too_little(result.setup, result.rows))
            for label in wanted:
                search.add(label, share, [scale * each for each in _slowdowns(result, label)])
            tried.append(result)
            done += len(wanted)
        pending, left = search.next_shares(), search.most_left()
    progress(1, 1)
    rows = [row for row in tried[0].rows if row.label in specs]
    footprint = _footprint_bytes(tried[0].setup)
    return Sizes(
        tiers=topology.description if isinstance(tiers, Topology) else str(tiers),
        slowdown=slowdown,
        setup=tried[0].setup,
        sizes=[_size(search, row, topology, footprint) for row in rows],
        shares=search.shares(),
        points=[
            *(point for row in rows for point in _points(search, row, topology, footprint)),
            Point(ALL_FAST, "kernel", 1.0, memory_cost(topology, footprint, 1.0), scale, None),
        ],
        price=topology.price,
    )


def _part_of(
    progress: Callable[[int, int], None], done: int, runs: int, total: int
) -> Callable[[int, int], None]:
    """Reports a comparison of so many runs as a part of all that may come. There may be fewer, never more: it does not
    go back."""
    return lambda part, whole: progress(done * whole + part * runs, total * whole)


def _slowdowns(result: Comparison, label: str) -> list[float]:
    """Of each seed; a seed in which the program lost data or was killed is slower than anything."""
    rows = result.runs.select(["label", "slowdown"]).to_pylist()
    return [math.inf if row["slowdown"] is None else row["slowdown"] for row in rows if row["label"] == label]


def _footprint_bytes(setup: Setup) -> float:
    return float(setup.footprint_pages * setup.page_bytes)


def _size(search: Search, row: SummaryRow, topology: Topology, footprint_bytes: float) -> Size:
    least, most = search.bracket(row.label)
    answers, at_largest = search.answers(row.label), search.at_largest(row.label)
    share, half = mean_and_interval(answers)
    costs = [None if answer is None else memory_cost(topology, footprint_bytes, answer) for answer in answers]
    cost, cost_half = mean_and_interval(costs)
    over = None if at_largest is None else at_largest - search.slowdown
    return Size(
        label=row.label,
        runs_on=row.runs_on,
        fast_share=share,
        ci95=half,
        fast_bytes=None if share is None else share * footprint_bytes,
        least=least,
        most=most,
        at_largest=at_largest,
        missed_by=over if over is not None and over > 0 else None,
        cost=cost,
        cost_ci95=cost_half,
    )


def _points(search: Search, row: SummaryRow, topology: Topology, footprint_bytes: float) -> list[Point]:
    found = []
    for share, slowdowns in search.tried(row.label):
        known = [None if math.isinf(each) else each for each in slowdowns]
        cost = memory_cost(topology, footprint_bytes, share)
        found.append(Point(row.label, row.runs_on, share, cost, *mean_and_interval(known)))
    return found
