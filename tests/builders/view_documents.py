"""Status documents for the live view, made by the service itself over the small kernel of `live_builders`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from builders.live_loop import START, FakeKernel, Scripted, addresses, install, maps_line, register
from pghot.cli.view_feed import TOP
from pghot.live.hot import hottest
from pghot.live.journal import Journal
from pghot.live.live_settings import LiveSettings
from pghot.live.loop import Live
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.sources.access_source import sightings_of
from pghot.live.status import status
from pghot.live.targets import Targets
from pghot.report.view.history import Seen

FIRST_PID, PAGES, HOT_PAGES = 500, 1024, 100


@dataclass
class Show:
    """A live loop on a clock of its own. `documents` are what it told, one for each second that passed."""

    kernel: FakeKernel
    source: type[Scripted]
    live: Live
    clock: list[int]
    documents: list[Seen] = field(default_factory=list)

    def second(self, *hot: tuple[int, int, int]) -> Seen:
        """Ten rounds; in each the source sees (pid, first page, pages), four times in the first."""
        for turn in range(10):
            self.clock[0] += 100_000_000
            sightings = [sightings_of(pid, addresses(first, pages)) for pid, first, pages in hot]
            self.source.says.append(sightings * (4 if not turn else 1))
            self.live.tick()
        self.documents.append(Seen(status(self.live), hottest(self.live.spaces, TOP).rows()))
        return self.documents[-1]


@contextmanager
def show(
    place: Path, monkeypatch: pytest.MonkeyPatch, programs: int = 3, apply: bool = True, **given: Any
) -> Iterator[Show]:
    """Programs of 4 MiB on the slow node, of which nothing was seen yet."""
    place.mkdir(exist_ok=True)
    kernel = FakeKernel(place)
    pids = tuple(range(FIRST_PID, FIRST_PID + programs))
    for pid in pids:
        kernel.program(pid, [maps_line(START, PAGES)], comm=f"server-{pid - FIRST_PID}")
        kernel.populate(pid, 0, PAGES, 1)
    install(kernel, monkeypatch)
    source = register(monkeypatch)
    clock = [10**12]
    settings = LiveSettings(
        Targets(pids), ("scripted",), apply=apply, mover=MoverSettings(rate_limit_mb_s=given.pop("rate", 4.0)),
        policy_options={"freq_threshold": 2}, **given,
    )  # fmt: skip
    with Journal(place / "j", kernel.root) as journal:
        live = Live(kernel.root, settings, journal, lambda: clock[0])
        live.start()
        yield Show(kernel, source, live, clock)
        live.stop()
