"""The verdict: does moving pages pay on this workload and these tiers, by how much, and what limits it.

Every sentence is derived from the figures of the comparison; the thresholds are named here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pghot.lab.metrics import Figures
from pghot.lab.outcomes import SummaryRow
from pghot.rules import rule_named

MATTERS = 0.02  # a difference in run time below this share counts as none
ENOUGH = 0.9  # for a mover that captures more of the possible gain, nothing is said about its limits
IDLE = 0.001  # a mover that promotes less than this share of the footprint counts as moving nothing


@dataclass(frozen=True, slots=True)
class Verdict:
    """outcome: "pays", "does not pay", "hurts" or "nothing to compare"; sentences: for people."""

    outcome: str
    best: str
    gain: float
    sentences: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {"outcome": self.outcome, "best": self.best, "gain": self.gain, "sentences": self.sentences}

    def __str__(self) -> str:
        return " ".join(self.sentences)


@dataclass(frozen=True, slots=True)
class _Sound:
    """A run that did all its work and kept all its data, and whose baseline 'none' did all its work.

    slowdown  None if 'all-fast' did not do all its work
    """

    row: SummaryRow
    speedup: float
    slowdown: float | None

    @property
    def label(self) -> str:
        return self.row.label

    @property
    def figures(self) -> Figures:
        return self.row.figures


def judge(summary: Sequence[SummaryRow], footprint_pages: int) -> Verdict:
    """The verdict on the summary rows of a comparison. A run that needs foresight is not judged as a mover."""
    sound = [
        _Sound(row, row.figures.speedup, row.figures.slowdown)
        for row in summary
        if row.figures.speedup is not None and not row.figures.lost_pages
    ]
    real = [run for run in sound if _is_mover(run.row) and _none_beside(run, sound)]
    judged = {run.label for run in real}
    unsafe = [row.label for row in summary if _is_mover(row) and row.label not in judged]
    movers = [run for run in real if run.figures.promotions >= IDLE * footprint_pages]
    if real and not movers:
        return Verdict(
            "does not pay",
            "",
            0.0,
            ["Moving pages does not pay: no policy that could promote found pages to promote."],
        )
    if not movers:
        why = ["No policy that moves pages was run: nothing to judge."]
        return Verdict("nothing to compare", "", 0.0, _unjudged(unsafe) or why)
    best = max(movers, key=lambda run: run.speedup)
    worst = min(movers, key=lambda run: run.speedup)
    gain = best.speedup - 1
    noise = max(MATTERS, best.row.ci95["speedup"] or 0.0)
    outcome = "pays" if gain > noise else "hurts" if gain < -noise else "does not pay"
    beside = _beside(best, sound)
    sentences = [_headline(outcome, best, gain, _base(best, sound)), *_limits(best, beside)]
    if worst.speedup < 1 - MATTERS and outcome != "hurts":
        sentences.append(
            f"Moving can also hurt here: {worst.label} is {_percent(1 / worst.speedup - 1)} slower than "
            f"{_base(worst, sound)}."
        )
    idle = [run.label for run in real if run not in movers]
    if idle:
        who = ", ".join(idle) if len(idle) <= 3 else f"{len(idle)} runs"
        sentences.append(f"Not judged, having promoted (almost) nothing: {who}.")
    sentences += _against_static(best, beside)
    if best.row.access and (warning := rule_named(best.row.access).warning):
        sentences.append(f"Nothing was lost here, but {warning}.")
    sentences += _unjudged(unsafe)
    return Verdict(outcome, best.label, gain, sentences)


def _is_mover(row: SummaryRow) -> bool:
    return row.kind == "mover" and not row.needs_foresight


def _unjudged(labels: Sequence[str]) -> list[str]:
    if not labels:
        return []
    return [f"Not judged, for data was lost or a tenant killed, there or under 'none': {', '.join(labels)}."]


def _headline(outcome: str, best: _Sound, gain: float, base: str) -> str:
    who = f"the best mover, {best.label}, "
    half = best.row.ci95["speedup"]
    spread = f" (95 % interval +-{_percent(half)})" if half else ""
    if outcome == "pays":
        return f"Moving pages pays: {who}is {_percent(gain)} faster than {base} in the steady state{spread}."
    if outcome == "hurts":
        return f"Moving pages hurts: even {who}is {_percent(1 / (1 + gain) - 1)} slower than {base}{spread}."
    return f"Moving pages does not pay: {who}changes run time by {100 * gain:+.1f} %{spread}."


def _limits(best: _Sound, sound: Sequence[_Sound]) -> list[str]:
    """What keeps the best mover from doing better: at most three sentences, the largest cause first."""
    none = _none_beside(best, sound)
    if none is None or none.slowdown is None or best.slowdown is None:
        return []
    room = none.slowdown - 1
    if room < -MATTERS / 2:
        return [
            f"All memory in the top tier would be {_percent(-room)} slower: it trades latency for bandwidth."
        ]
    if room < MATTERS:
        return [
            f"There is little to gain: without moves the program is only {_percent(room)} slower than all-fast."
        ]
    captured = (none.slowdown - best.slowdown) / room
    sentences = [
        f"All-fast would be {_percent(room)} faster than '{none.label}'; {best.label} captures "
        f"{max(0, round(100 * captured))} % of that gap."
    ]
    if captured > ENOUGH:
        return sentences
    oracle = max((run for run in sound if run.row.needs_foresight), key=lambda run: run.speedup, default=None)
    # With compressed memory an oracle of misses can do worse than a mover: it does not know what a write costs there.
    if oracle is not None and max(oracle.speedup, best.speedup) - 1 < MATTERS:
        sentences.append(
            "Even an oracle gains nothing: the misses are spread too evenly for this share of fast memory."
        )
        return sentences
    causes = sorted(_causes(best.figures), reverse=True)
    if causes:
        sentences.append("What limits it: " + "; ".join(text for _, text in causes[:2]) + ".")
    elif oracle is not None and oracle.speedup > best.speedup * (1 + MATTERS):
        sentences.append(f"{oracle.label} shows that {_percent(oracle.speedup - 1)} was possible.")
    return sentences


def _causes(best: Figures) -> list[tuple[float, str]]:
    """(weight, part of a sentence) for each thing that holds the mover back."""
    causes = []
    if best.coverage is not None and best.coverage < 0.8:
        causes.append(
            (1 - best.coverage, f"only {_percent(best.coverage)} of the true hot set is in fast memory")
        )
    if best.accuracy is not None and best.accuracy < 0.6:
        causes.append(
            (0.5 * (1 - best.accuracy), f"only {_percent(best.accuracy)} of its promotions were of hot pages")
        )
    overhead = best.tracking_app_share + best.moving_app_share
    if overhead > 0.02:
        causes.append((overhead, f"tracking and moving take {_percent(overhead)} of the program's time"))
    if best.promotions and best.pingpong > 0.3 * best.promotions:
        share = best.pingpong / best.promotions
        causes.append((0.3 * share, f"{_percent(share)} of its promotions repeat an earlier one (ping-pong)"))
    return causes


def _against_static(best: _Sound, sound: Sequence[_Sound]) -> list[str]:
    """Whether a placement that never promotes does as well, or a clairvoyant one does better."""
    oracle = _find(sound, "oracle-static")
    if oracle is not None and oracle.speedup > best.speedup * (1 + MATTERS):
        return [
            f"The best fixed placement, oracle-static, is {_percent(oracle.speedup / best.speedup - 1)} faster "
            "still: what pays is where pages are, not that they move."
        ]
    fixed = [run for run in sound if run.row.kind == "static" or run.row.policy == "demotion"]
    static = max(fixed, key=lambda run: run.speedup, default=None)
    if static is None or static.speedup < max(best.speedup * (1 - MATTERS), 1 + MATTERS):
        return []
    return [
        f"What never promotes does as well or better: {static.label}, {static.speedup:.2f} x {_base(best, sound)}."
    ]


def _beside(run: _Sound, sound: Sequence[_Sound]) -> list[_Sound]:
    """What a run is compared with: the runs under the same access rule."""
    return [other for other in sound if other.row.access == run.row.access]


def _none_beside(run: _Sound, sound: Sequence[_Sound]) -> _Sound | None:
    return _find(_beside(run, sound), "none")


def _base(run: _Sound, sound: Sequence[_Sound]) -> str:
    """The label, in quotes, of the run that a speed-up refers to: 'none', with its rule where several are compared."""
    none = _none_beside(run, sound)
    return f"'{none.label}'" if none else "'none'"


def _find(sound: Sequence[_Sound], policy: str) -> _Sound | None:
    """The run of a policy that listens to no source."""
    return next((run for run in sound if run.row.policy == policy and not run.row.sources), None)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if abs(share) < 0.1 else f"{100 * share:.0f} %"
