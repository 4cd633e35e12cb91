"""What a page of a recording needs, beside what the report itself reads."""

from __future__ import annotations

import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pghot.recording.activity import Activities
from pghot.recording.summary import summary_of
from pghot.recording.time_bins import at_most
from pghot.recording.totals import AddsUp, Counts, PageTotals, TaskTotals

if TYPE_CHECKING:
    from pghot.recording.heat import HeatMap
    from pghot.recording.reader import Recording
    from pghot.recording.working_set import WorkingSet
    from pghot.report.explain_page import Explained

LIFE_BINS = 400  # of time, in the life of a region


class PageReading:
    """Figures of the whole recording, and how its regions lived; `parts` are to be read for a page."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.pages, self._tasks = PageTotals(recording.pages), TaskTotals()

    @cached_property
    def _activities(self) -> Activities:
        return Activities(self._recording, at_most(self._recording, LIFE_BINS))

    @property
    def totals(self) -> tuple[AddsUp, ...]:
        """What `facts` and `misses` are of."""
        return self.pages, self._tasks

    @property
    def parts(self) -> tuple[AddsUp, ...]:
        return *self.totals, self._activities

    def facts(self) -> dict[str, Any]:
        """A `pghot.summary` document, once the totals are read."""
        return summary_of(self._recording, self.pages, self._tasks)

    @property
    def misses(self) -> Counts:
        """uint64[footprint]: of each touched page."""
        of_touched: Counts = self.pages.misses[self.pages.touches > 0]
        return of_touched

    def page(
        self,
        heat: HeatMap | None = None,
        working_set: WorkingSet | None = None,
        timeline: bool = False,
        whole: bool = False,
        explained: Explained | None = None,
    ) -> str:
        """The page, once all is read. whole: with the hot-set curve and the tables of the summary."""
        from pghot.report.recording_page import PageParts, render

        lives, misses = self._activities.result(), self.misses if whole else None
        shown = PageParts(self.facts(), lives, heat, working_set, timeline, misses, explained)
        return render(shown, ["pghot", *sys.argv[1:]])
