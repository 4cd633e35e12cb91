"""The exact cache misses of every slice, at no cost. No hardware offers this; it is a yardstick for what exists."""

from __future__ import annotations

from pghot.engine.accesses import Accesses, Mechanism, Sees
from pghot.sim.sources.simulated_source import Report, SliceView, SourceSettings


class Truth:
    """All misses of each slice, free of charge."""

    name = "truth"
    summary = "every cache miss at no cost: a yardstick that no machine has"
    mechanism: Mechanism = None
    inline = False
    released = False
    sees: Sees = "any"
    clairvoyant = True

    def __init__(self, settings: SourceSettings) -> None:
        self._misses = 0

    def observe(self, view: SliceView) -> Report:
        page, node, count = view.page, view.node, view.misses
        total = int(count.sum())
        if not count.all():
            missed = count > 0
            page, node, count = page[missed], node[missed], count[missed]
        self._misses += total
        return Report(Accesses(page, node, count, int(view.now_ms)))

    def sampling(self) -> str:
        return "every cache miss"

    def counters(self) -> dict[str, int]:
        return {"true_misses": self._misses}

    def tracker_bytes(self) -> int:
        return 0
