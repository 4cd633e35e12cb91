"""Another trace seen in another way: what a view does not change is that trace's own."""

from __future__ import annotations

from dataclasses import dataclass

from pghot.recording.compressibility import Compressibility, compressibility_of
from pghot.recording.trace import Region, Trace, TraceInfo, cut_rows_of


@dataclass(frozen=True, slots=True)
class TraceView:
    """A view of `trace` with the same pages; who inherits says what its `batches` are. `info` is the view's."""

    trace: Trace
    info: TraceInfo

    @property
    def pages(self) -> int:
        return self.trace.pages

    @property
    def regions(self) -> tuple[Region, ...]:
        return self.trace.regions

    @property
    def compressibility(self) -> Compressibility | None:
        return compressibility_of(self.trace)

    @property
    def cut_rows(self) -> int:
        return cut_rows_of(self.trace)
