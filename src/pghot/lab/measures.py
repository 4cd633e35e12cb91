"""What is measured during a run, epoch by epoch, against the truth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pghot.arrays import F64, NOWHERE, U8, U32, Bool
from pghot.jit import njit
from pghot.sim.machine.simulated import SimulatedMachine


@dataclass(frozen=True, slots=True)
class EpochSample:
    """Running totals of a run at the end of an epoch, of the real system: a page of the lab is K, and so is a ns.

    See `sim.machine.accounts.Ledger` for the units.
    """

    elapsed_ns: float
    served: tuple[float, ...]
    promoted: float
    demoted: float
    pingpong: float
    moved_bytes: float
    tracking_app_ns: float
    moving_app_ns: float
    kernel_ns: float
    coverage: float
    promoted_hot: float
    used_share: tuple[float, ...]
    latency_ns: tuple[float, ...]
    saved_bytes: float

    @classmethod
    def at_the_start(cls, nodes: int) -> EpochSample:
        """Before the first epoch: nothing happened, and nothing is hot yet."""
        none = (0.0,) * nodes
        return cls(
            elapsed_ns=0.0,
            served=none,
            promoted=0,
            demoted=0,
            pingpong=0,
            moved_bytes=0,
            tracking_app_ns=0.0,
            moving_app_ns=0.0,
            kernel_ns=0.0,
            coverage=float("nan"),
            promoted_hot=0,
            used_share=none,
            latency_ns=none,
            saved_bytes=0,
        )


@dataclass(slots=True)
class Responses:
    """Pages that turned hot while in the lower tiers, and how long each waited for its promotion.

    waited_ns  of those promoted while they were hot
    never      how many cooled down, or were still waiting at the end, without a promotion
    """

    waited_ns: list[F64] = field(default_factory=list)
    never: int = 0

    def percentile_ns(self, share: float) -> float | None:
        """The wait that `share` of all pages that turned hot did not exceed; None when they never were."""
        waits = np.sort(np.concatenate(self.waited_ns)) if self.waited_ns else np.empty(0)
        total = len(waits) + self.never
        rank = int(np.ceil(share * total)) - 1
        return float(waits[rank]) if total and rank < len(waits) else None

    def promoted_share(self) -> float | None:
        promoted = sum(len(waits) for waits in self.waited_ns)
        total = promoted + self.never
        return promoted / total if total else None


@njit(cache=True)
def note_promoted(
    promoted: U32, hot_since_ns: F64, is_hot: Bool, now_ns: float, waited_ns: F64
) -> tuple[int, int]:
    """End the wait of promoted pages; returns how many waited, and how many are hot.

    promoted      uint32[K]
    hot_since_ns  float64[pages]  since when each waits, nan: it does not; updated
    waited_ns     float64[K]      set: the waits of those that waited, from the front
    """
    answered = hot = 0
    for page in promoted:
        if not np.isnan(hot_since_ns[page]):
            waited_ns[answered] = now_ns - hot_since_ns[page]
            hot_since_ns[page] = np.nan
            answered += 1
        if is_hot[page]:
            hot += 1
    return answered, hot


@njit(cache=True)
def turn_hot(
    hot: U32,
    before: U32,
    earlier: U32,
    now_hot: Bool,
    was_hot: Bool,
    place: U8,
    lower: Bool,
    now_ns: float,
    hot_since_ns: F64,
) -> int:
    """Begin an epoch; returns how many pages cooled down without a promotion.

    hot, before   uint32[K], uint32[L]  the hot sets of this epoch and of the one before
    earlier       uint32[M]  the hot set of the epoch before that one
    now_hot       bool[pages]  True for the pages in `earlier`; set to those in `hot`
    was_hot       bool[pages]  True for the pages in `before`
    place, lower  uint8[pages], bool[nodes]  as in the machine
    hot_since_ns  float64[pages]  since when each waits, nan: it does not; updated

    Only pages of `before` can be waiting. A page never touched before waits from now on as well: where it lands
    decides whether it goes on.
    """
    for page in earlier:
        now_hot[page] = False
    for page in hot:
        now_hot[page] = True
        home = place[page]
        if not was_hot[page] and (home == NOWHERE or lower[home]):
            hot_since_ns[page] = now_ns
    cooled = 0
    for page in before:
        if not now_hot[page] and not np.isnan(hot_since_ns[page]):
            hot_since_ns[page] = np.nan
            cooled += 1
    return cooled


@njit(cache=True)
def count_on_top(hot: U32, place: U8, lower: Bool, hot_since_ns: F64) -> tuple[int, int]:
    """How many pages of a hot set are on a node, and how many of these in the top tier; the arrays as in `turn_hot`.

    The latter do not wait: those that were allocated there never did.
    """
    placed = on_top = 0
    for page in hot:
        home = place[page]
        if home == NOWHERE:  # of a killed tenant
            continue
        placed += 1
        if not lower[home]:
            hot_since_ns[page] = np.nan
            on_top += 1
    return placed, on_top


class Measures:
    """Coverage, accuracy and responsiveness of one run.

    coverage of an epoch   share of its hot set that sits in the top tier when it ends
    accuracy               share of all promotions whose page is in the hot set of the epoch of the promotion or
                           of the next one
    responsiveness         a page turns hot at the start of the first epoch whose hot set has it (and the previous
                           one had not); its wait ends with its promotion
    """

    def __init__(self, machine: SimulatedMachine) -> None:
        self._machine = machine
        self.samples: list[EpochSample] = []
        self.responses = Responses()
        self._hot_since_ns = np.full(machine.pages, np.nan)
        self._was_hot = np.zeros(machine.pages, np.bool_)
        self._is_hot = np.zeros(machine.pages, np.bool_)
        self._was_hot_pages = self._hot_pages = np.empty(0, np.uint32)
        self._previous_promotions: list[U32] = []
        self._promotions: list[U32] = []
        self._promoted_hot = 0

    def begin_epoch(self, hot: U32) -> None:
        """The pages in `hot` are the hot set of the epoch that starts now."""
        machine = self._machine
        if (living := machine.living(hot)) is not None:
            hot = hot[living]
            self._forget_the_dead()
        before, now_hot = self._hot_pages, self._was_hot
        self.responses.never += int(
            turn_hot(
                hot,
                before,
                self._was_hot_pages,
                now_hot,
                self._is_hot,
                machine.place,
                machine.lower,
                machine.now_ns,
                self._hot_since_ns,
            )
        )
        self._was_hot, self._is_hot = self._is_hot, now_hot
        self._was_hot_pages, self._hot_pages = before, hot
        if self._previous_promotions:  # of the epoch before: hot only now
            promoted = np.concatenate(self._previous_promotions)
            self._promoted_hot += int(np.count_nonzero(now_hot[promoted] & ~self._was_hot[promoted]))
            self._previous_promotions = []

    def _forget_the_dead(self) -> None:
        """Pages of a killed tenant no longer wait."""
        waiting = np.flatnonzero(~np.isnan(self._hot_since_ns)).astype(np.uint32)
        living = self._machine.living(waiting)
        if living is not None:
            self._hot_since_ns[waiting[~living]] = np.nan

    def end_slice(self) -> None:
        """Note the slice's promotions."""
        machine = self._machine
        if not machine.newly_promoted:
            return
        for promoted in machine.newly_promoted:
            waited = np.empty(len(promoted))
            answered, hot = note_promoted(promoted, self._hot_since_ns, self._is_hot, machine.now_ns, waited)
            if answered:
                self.responses.waited_ns.append(waited[:answered])
            self._promoted_hot += hot
            self._previous_promotions.append(promoted)
        machine.newly_promoted.clear()

    def end_epoch(self, hot: U32) -> None:
        """Sample the totals; `hot` is the hot set of the epoch that ends."""
        machine, ledger = self._machine, self._machine.ledger
        placed, on_top = count_on_top(hot, machine.place, machine.lower, self._hot_since_ns)
        group = machine.group_pages
        self.samples.append(
            EpochSample(
                elapsed_ns=ledger.elapsed_ns * group,
                served=tuple(ledger.served.tolist()),
                promoted=ledger.promoted * group,
                demoted=ledger.demoted * group,
                pingpong=ledger.pingpong * group,
                moved_bytes=ledger.exchanged_bytes * group,
                tracking_app_ns=ledger.tracking_app_ns * group,
                moving_app_ns=ledger.moving_app_ns * group,
                kernel_ns=sum(thread.used_ns for thread in machine.kernel_threads.values()) * group,
                coverage=on_top / placed if placed else float("nan"),
                promoted_hot=self._promoted_hot * group,
                used_share=tuple(machine.used_share.tolist()),
                latency_ns=tuple(machine.latency_ns.tolist()),
                saved_bytes=machine.compressed.saved_bytes * group if machine.compressed else 0,
            )
        )

    def finish(self) -> None:
        """The run is over: pages still waiting were never promoted."""
        self._forget_the_dead()
        self.responses.never += int(np.count_nonzero(~np.isnan(self._hot_since_ns)))
