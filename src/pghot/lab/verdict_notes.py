"""What a verdict says beside its outcomes: how much of the possible gain the best mover has, what limits it, what else
would do, who hurts, and who stood still."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pghot.lab.metrics import Figures
from pghot.lab.outcomes import SummaryRow
from pghot.lab.sound_runs import MATTERS, SoundRun, beside, best_of, find, gain_text, is_mover, points
from pghot.lab.stood_still import grouped, stood_still
from pghot.rules import rule_named
from pghot.units import format_share

ENOUGH = 0.9  # for a mover that saves more of the time that can be saved, nothing is said about its limits


def notes_on(
    best: SoundRun | None, summary: Sequence[SummaryRow], sound: Sequence[SoundRun], pages: int
) -> Iterator[str]:
    """best: the best mover, in whose light the others are seen; None: none moved."""
    if best is not None:
        others = beside(best, sound)
        yield from _room(best, others)
        yield from _split(best, others)
        yield from _ties(best, others, pages)
    yield from _losers(best, sound)
    yield from _idle(sound, pages)
    if best is not None and best.row.access and (warning := rule_named(best.row.access).warning):
        yield f"Nothing was lost here, but {warning}."
    judged = {run.label for run in sound}
    if unsafe := [row.label for row in summary if is_mover(row) and row.label not in judged]:
        yield f"Not judged, for data was lost or a tenant killed, there or under 'none': {', '.join(unsafe)}."


def _room(best: SoundRun, others: Sequence[SoundRun]) -> Iterator[str]:
    """How much could be gained, and what keeps the best mover from it."""
    fast = find(others, "all-fast")
    oracle = best_of([run for run in others if run.row.needs_foresight])
    if fast is not None:
        yield f"With all memory in the top tier the gain is {gain_text(fast)}{_captured(best, fast)}."
    if oracle is None:
        return
    if max(oracle.gain, best.gain) <= MATTERS:
        yield (
            f"No run that knows the future gains more than {gain_text(oracle)}: with this share of fast memory there "
            "is little to gain."
        )
    elif oracle.more_than(best) > MATTERS:
        if oracle.row.policy != "oracle-static":  # else `_split` says it
            yield f"{oracle.label}, which knows the future, gains {gain_text(oracle)}."
        causes = sorted(_causes(best.figures), reverse=True)
        if causes and not _enough(best, fast):
            yield f"What limits {best.label}: " + "; ".join(text for _, text in causes[:2]) + "."


def _captured(best: SoundRun, fast: SoundRun) -> str:
    if fast.gain <= MATTERS or best.gain <= 0:
        return ""
    return f"; {best.label} saves {100 * best.saved / fast.saved:.0f} % of the time that this saves"


def _enough(best: SoundRun, fast: SoundRun | None) -> bool:
    return fast is not None and fast.gain > MATTERS and best.saved > ENOUGH * fast.saved


def _causes(best: Figures) -> Iterator[tuple[float, str]]:
    """(weight, clause) for each thing that holds the mover back."""
    if best.coverage is not None and best.coverage < 0.8:
        yield 1 - best.coverage, f"only {_share(best.coverage)} of the true hot set is in fast memory"
    if best.accuracy is not None and best.accuracy < 0.6:
        yield 0.5 * (1 - best.accuracy), f"only {_share(best.accuracy)} of its promotions were of hot pages"
    overhead = best.tracking_app_share + best.moving_app_share
    if overhead > 0.02:
        yield overhead, f"tracking and moving take {_share(overhead)} of the program's time"
    if best.promotions and best.pingpong > 0.3 * best.promotions:
        share = best.pingpong / best.promotions
        yield 0.3 * share, f"{_share(share)} of its promotions repeat an earlier one (ping-pong)"


def _split(best: SoundRun, others: Sequence[SoundRun]) -> Iterator[str]:
    """What of the gain demotion alone would bring, what a fixed placement, and so what moving brings."""
    if demotion := find(others, "demotion"):
        yield f"Demotion alone gains {gain_text(demotion)}, and {best.label} {points(best, demotion)}."
    if fixed := find(others, "oracle-static"):
        yield (
            f"The fixed placement of oracle-static gains {gain_text(fixed)}, and {best.label} {points(best, fixed)}: "
            f"{_what_pays(best, fixed)}."
        )
    static = best_of([run for run in others if run.row.kind == "static"])
    if static is not None and static.gain > MATTERS and best.more_than(static) <= MATTERS:
        yield f"A placement that never promotes does about as well or better: {static.label} gains {gain_text(static)}."


def _what_pays(best: SoundRun, fixed: SoundRun) -> str:
    if max(best.gain, fixed.gain) <= MATTERS:
        return "neither gain counts"
    if best.ties_with(fixed):
        return "moving brings no more than a fixed placement"
    return f"{'moving' if best.gain > fixed.gain else 'a fixed placement'} brings more"


def _ties(best: SoundRun, others: Sequence[SoundRun], pages: int) -> Iterator[str]:
    tied = [
        run.label
        for run in others
        if is_mover(run.row) and run is not best and not stood_still(run.row, pages) and best.ties_with(run)
    ]
    if tied:
        yield f"No difference to {best.label} that counts: {', '.join(tied)}."


def _losers(best: SoundRun | None, sound: Sequence[SoundRun]) -> Iterator[str]:
    """The mover that loses most, whether it moved or only tracked."""
    losers = [
        run for run in sound if is_mover(run.row) and run.gain < -max(MATTERS, run.half) and run is not best
    ]
    if losers:
        worst = min(losers, key=lambda run: run.gain)
        who = (
            f"{len(losers)} movers lose, {worst.label} the most"
            if len(losers) > 1
            else f"{worst.label} loses"
        )
        yield f"{who}: its gain over '{worst.base}' is {gain_text(worst)}."


def _idle(sound: Sequence[SoundRun], pages: int) -> Iterator[str]:
    still = [run.row for run in sound if is_mover(run.row) and stood_still(run.row, pages)]
    if still:
        yield f"Stood still, having promoted less than 0.1 % of the pages: {grouped(still)}."


def _share(share: float) -> str:
    return format_share(share, 1 if abs(share) < 0.1 else 0)
