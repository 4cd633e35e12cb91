"""The hotness engine: accesses of many sources in, batches of pages worth promoting out.

One engine is used by the lab's policies and by the live service. It has no clock and touches no machine:
the caller passes kernel milliseconds and the state of the nodes, and moves the pages itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pghot.arrays import I16, I32, I64, U8, U32, Bool, Int
from pghot.engine import STORES
from pghot.engine.accesses import Accesses, Source
from pghot.engine.gate import RATE_LIMITED, TOO_OLD, UNREACHED, Gate
from pghot.engine.settings import EngineSettings
from pghot.engine.store import no_candidates
from pghot.jit import njit

# The kernel's counter for what each mechanism saw.
MECHANISM_COUNTERS = {
    "hint fault": "pghot_recorded_hintfaults",
    "hardware": "pghot_recorded_hwhints",
    "page-table scan": "pghot_recorded_pgtscans",
}


@dataclass(slots=True)  # not frozen, see `Accesses`
class Promotions:
    """Pages to promote now, in order.

    page  uint32[K]  distinct dense pages
    node  int16[K]   the top-tier node each goes to
    """

    page: U32
    node: I16

    def __len__(self) -> int:
        return len(self.page)


class HotnessEngine:
    """A store, its consumer (kmigrated or kpromoted) and the gate in front of every promotion.

    rounds  of the consumer, so far
    """

    def __init__(self, settings: EngineSettings) -> None:
        """Raises `UsageError` for an unknown store or values that the store's layout cannot hold."""
        self.settings = settings
        self.store = STORES.make(settings.store, settings)
        self.window_ms = self.store.window_ms
        self.sleep_ms = settings.sleep_ms or self.store.sleep_ms
        self.batch_nr = settings.batch_nr or self.store.batch_nr
        self.gate = Gate(settings, self.window_ms)
        self._keeps_refused = "consumed-before-gate" not in settings.faithful
        self._switched: dict[str, bool] = {}
        self._counts = {
            "pghot_reported_accesses": 0,
            "pghot_recorded_accesses": 0,
            **dict.fromkeys(MECHANISM_COUNTERS.values(), 0),
        }
        self._counts["kpromoted_dropped"] = 0
        self._last_round_ms: int | None = None
        self._last_taken = no_candidates()
        self._last_verdict = np.empty(0, np.uint8)
        self.rounds = 0
        self._eligible = np.zeros(256, np.bool_)

    def enable(self, source: str) -> None:
        """Record this source's accesses from now on."""
        self._switched[source] = True

    def disable(self, source: str) -> None:
        """Ignore this source from now on; what it already recorded stays."""
        self._switched[source] = False

    def enabled(self, source: str) -> bool:
        """Whether this source's accesses are recorded."""
        chosen = self.settings.enabled_sources
        return self._switched.get(source, chosen is None or source in chosen)

    def record(self, source: Source, accesses: Accesses, place: U8, lower: Bool) -> None:
        """Enter what a source saw; accesses of pages on a top-tier node or never placed are only counted.

        place  uint8[pages]  node that holds each page now, 255 = nowhere
        lower  bool[nodes]   True for nodes below the top tier
        """
        if len(accesses) == 0 or not self.enabled(source.name):
            return
        self._eligible[: len(lower)] = lower
        recorded = self.store.record(accesses, place, self._eligible)
        self._counts["pghot_reported_accesses"] += total(accesses.count)
        self._counts["pghot_recorded_accesses"] += recorded
        if source.mechanism is not None:
            self._counts[MECHANISM_COUNTERS[source.mechanism]] += recorded

    def wake(
        self, now_ms: float, free_pages: I64, node_pages: I64, high_watermark_pages: I64, max_pages: int
    ) -> Promotions:
        """What the consumer promotes at `now_ms`; nothing when it still sleeps.

        free_pages, node_pages, high_watermark_pages  int64[nodes]
        max_pages  at most so many promotions; the hot pages beyond them keep waiting

        A caller whose clock jumps over several sleeps gets what those rounds together would have done.
        """
        now = int(now_ms)
        slept = self.sleep_ms if self._last_round_ms is None else now - self._last_round_ms
        if slept < self.sleep_ms:
            return _none()
        self._last_round_ms = now
        self.rounds += 1
        candidates = self.store.take(now, slept // self.sleep_ms)
        self._last_taken, self._last_verdict = candidates, np.empty(0, np.uint8)
        if len(candidates) == 0:
            return _none()
        verdict = self._last_verdict = self.gate.judge(
            candidates, now, slept, free_pages, node_pages, high_watermark_pages, max_pages
        )
        admitted = verdict < TOO_OLD
        if admitted.all():
            return Promotions(candidates.page, candidates.node)
        self._keep_or_lose(verdict)
        return Promotions(candidates.page[admitted], candidates.node[admitted])

    def hot(self, verdict: int | None = None) -> U32:
        """The pages that were hot in the last round: all of them, or those with one of the gate's verdicts."""
        page = self._last_taken.page
        return page if verdict is None else page[self._last_verdict == verdict]

    def frequency(self, page: U32) -> I32:
        """The frequency in the record of each page; of those that the last round took, in the record that it took."""
        found = self.store.frequency(self.store.records_of(page))
        taken = self._last_taken
        if len(taken):
            order = np.argsort(taken.page, kind="stable")
            at = np.minimum(np.searchsorted(taken.page[order], page), len(order) - 1)
            same = taken.page[order[at]] == page
            found[same] = self.store.frequency(taken.record[order[at[same]]])
        return found

    def _keep_or_lose(self, verdict: U8) -> None:
        """Give what was not admitted back to the store, or lose it as the published versions do."""
        many = np.bincount(verdict, minlength=UNREACHED + 1).tolist()
        # `max_pages` is the caller's limit; the published consumer has none, so no version loses what is unreached.
        kept = (TOO_OLD, RATE_LIMITED, UNREACHED) if self._keeps_refused else (UNREACHED,)
        for why in kept:
            if many[why]:
                self.store.restore(self._last_taken.select(verdict == why), waiting=why != TOO_OLD)
        if not self._keeps_refused:
            self._counts["kpromoted_dropped"] += many[TOO_OLD] + many[RATE_LIMITED]

    def requeue(self, failed: Promotions) -> None:
        """Take back pages of the last `wake` that the machine could not move; they keep their history.

        With "consumed-before-gate" they are lost instead, as in the published versions.
        """
        if len(failed) == 0:
            return
        if self._keeps_refused:
            self.store.restore(
                self._last_taken.select(np.isin(self._last_taken.page, failed.page)), waiting=True
            )
        else:
            self._counts["kpromoted_dropped"] += len(failed)

    def forget(self, pages: U32) -> None:
        """Drop what is known of these pages: they were unmapped or demoted."""
        self.store.forget(pages)

    def bytes_total(self) -> int:
        """Bytes that the tracking holds."""
        return self.store.bytes_total()

    def bytes_per_page(self) -> float:
        """Bytes of tracking for each page of the index space."""
        return self.store.bytes_total() / self.settings.pages

    @property
    def counters(self) -> dict[str, int]:
        """The engine's counters, as declared in `pghot.counters`.

        Every access reported by an enabled source is in exactly one of recorded, dropped and ignored.
        """
        counts = {**self._counts, **self.store.counters(), **self.gate.counters()}
        heard = counts["pghot_recorded_accesses"] + counts.get("pghot_dropped_accesses", 0)
        return {**counts, "pghot_ignored_accesses": counts["pghot_reported_accesses"] - heard}


def _none() -> Promotions:
    return Promotions(np.empty(0, np.uint32), np.empty(0, np.int16))


@njit(cache=True)
def total(count: U32) -> int:
    """The sum of a uint32 array as int64: seven times faster than NumPy, which converts block by block."""
    result = 0
    for i in range(count.shape[0]):
        term: Int = np.int64(count[i])
        result += term
    return result
