"""The verdict: does moving pages pay on this workload and these tiers, by how much, and what limits it.

It has one outcome for each class of movers, as they differ in what a user can have today, and one over all. Every
sentence is derived from the table of the comparison; the thresholds are named here and in `sound_runs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pghot.lab.comparison_setup import Setup
from pghot.lab.evidence import Unknown, too_little
from pghot.lab.outcomes import SummaryRow
from pghot.lab.sound_runs import MATTERS, SoundRun, best_of, gain_text, is_mover, points, sound_runs
from pghot.lab.stood_still import grouped, stood_still, would_tell
from pghot.lab.verdict_notes import notes_on
from pghot.policies.runs_on import CLASSES, RunsOn

Outcome = Literal["pays", "cannot tell", "does not pay", "hurts"]  # best first
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

TITLES: Mapping[RunsOn, str] = {
    "kernel": "The kernel alone",
    "user space": "A released kernel with pghot in user space",
    "to come": "Patches or hardware to come",
}
_RUN_IT: Mapping[RunsOn, str] = {
    "kernel": "`--policies numab2 --classes kernel`",
    "user space": "`--policies pghot --classes user-space`",
    "to come": "`--classes to-come`",
}
_LOST = Unknown(
    "data was lost or a tenant killed under each of its movers, or under 'none'",
    "a larger reserve (`pghot margin`) or another rule (--access)",
)


@dataclass(frozen=True, slots=True)
class ClassVerdict:
    """The verdict on the movers of one class.

    finding  what was found, as a sentence; for "cannot tell" it follows from `unknown`
    best     the best of the movers that moved; None: none did
    unknown  why it cannot be told, and what would tell
    was_run  whether any mover of the class was run
    """

    runs_on: RunsOn
    outcome: Outcome
    finding: str = ""
    best: SoundRun | None = None
    unknown: Unknown | None = None
    was_run: bool = True

    @property
    def sentence(self) -> str:
        start = f"{TITLES[self.runs_on]}: {self.outcome}"
        return f"{start}, as {self.unknown}" if self.unknown else f"{start}. {self.finding}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "runs_on": self.runs_on,
            "outcome": self.outcome,
            "best": self.best.label if self.best else "",
            "gain": self.best.gain if self.best else None,
            "gain_ci95": self.best.half if self.best and self.best.row.seeds > 1 else None,
            "reason": self.unknown.reason if self.unknown else None,
            "would_tell": self.unknown.would_tell if self.unknown else None,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on a comparison.

    headline  the outcome over all, in a sentence
    decisive  the class that it comes from: the best that can be had today; if none was run, what is to come
    classes   one for each of `policies.runs_on.CLASSES`
    notes     what limits the best mover, what else would do, who stood still and why
    """

    headline: str
    decisive: ClassVerdict
    classes: tuple[ClassVerdict, ...]
    notes: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        return self.decisive.outcome

    @property
    def sentences(self) -> list[str]:
        return [self.headline, *(each.sentence for each in self.classes), *self.notes]

    @property
    def best(self) -> str:
        """Label of the best mover of the decisive class; empty: none moved."""
        return self.decisive.best.label if self.decisive.best else ""

    @property
    def best_labels(self) -> set[str]:
        """The best mover of each class."""
        return {each.best.label for each in self.classes if each.best}

    def to_dict(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome,
            "headline": self.headline,
            "best": self.best,
            "gain": self.decisive.best.gain if self.decisive.best else None,
            "classes": [each.to_dict() for each in self.classes],
            "sentences": self.sentences,
        }

    def __str__(self) -> str:
        return "\n".join(self.sentences)


def judge(summary: Sequence[SummaryRow], setup: Setup) -> Verdict:
    """The verdict on the summary rows of a comparison. A run that needs foresight is not judged as a mover."""
    sound = sound_runs(summary)
    lack = too_little(setup, summary)
    classes = tuple(_judge_class(runs_on, summary, sound, setup.footprint_pages, lack) for runs_on in CLASSES)
    decisive = _decisive(classes)
    best = decisive.best or best_of([each.best for each in classes if each.best])
    return Verdict(
        headline=_headline(decisive, classes),
        decisive=decisive,
        classes=classes,
        notes=() if lack else tuple(_notes(best, classes, summary, sound, setup)),
    )


def _notes(
    best: SoundRun | None,
    classes: Sequence[ClassVerdict],
    summary: Sequence[SummaryRow],
    sound: Sequence[SoundRun],
    setup: Setup,
) -> Iterator[str]:
    if setup.similarity.measured:
        yield "The recording is of a live system: its misses are estimates, and so are these gains."
    if setup.timing.passes < 1:
        played = f"{100 * setup.timing.passes:.0f} %"
        yield f"Only {played} of the recording was played: a longer run (--duration) may tell otherwise."
    yield from _over_kernel(classes)
    yield from notes_on(best, summary, sound, setup.footprint_pages)


def _judge_class(
    runs_on: RunsOn,
    summary: Sequence[SummaryRow],
    sound: Sequence[SoundRun],
    pages: int,
    lack: Unknown | None,
) -> ClassVerdict:
    rows = [row for row in summary if is_mover(row) and row.runs_on == runs_on]
    runs = [run for run in sound if run.row in rows]
    moving = [run for run in runs if not stood_still(run.row, pages)]
    if not rows:
        nothing = Unknown("no mover of this class was run", _RUN_IT[runs_on])
        return ClassVerdict(runs_on, "cannot tell", unknown=nothing, was_run=False)
    if lack:
        return ClassVerdict(runs_on, "cannot tell", unknown=lack)
    if not runs:
        return ClassVerdict(runs_on, "cannot tell", unknown=_LOST)
    best = best_of(moving)
    if best is None:
        return _of_the_still(runs_on, runs, sound)
    return _of_the_best(runs_on, best, all_moved=len(moving) == len(runs))


def _of_the_still(runs_on: RunsOn, runs: Sequence[SoundRun], sound: Sequence[SoundRun]) -> ClassVerdict:
    """No mover of the class moved: none had a chance, unless there is nothing to gain."""
    rules = {run.row.access for run in runs}
    oracle = best_of([run for run in sound if run.row.kind == "oracle" and run.row.access in rules])
    if oracle is not None and oracle.gain <= MATTERS:
        finding = (
            f"Its movers found next to nothing to promote, and even an oracle gains only {gain_text(oracle)}."
        )
        return ClassVerdict(runs_on, "does not pay", finding)
    missed = f"although {oracle.label} gains {gain_text(oracle)}" if oracle else "and no oracle was run"
    rows = [run.row for run in runs]
    still = Unknown(f"all its movers stood still, {missed}: {grouped(rows)}", would_tell(rows))
    return ClassVerdict(runs_on, "cannot tell", unknown=still)


def _of_the_best(runs_on: RunsOn, best: SoundRun, all_moved: bool) -> ClassVerdict:
    """The outcome for a class whose best mover moved. all_moved: none of the class stood still."""
    told = f"{best.label} gains {gain_text(best)} over '{best.base}'"
    if best.gain > max(MATTERS, best.half):
        return ClassVerdict(runs_on, "pays", f"{told}.", best)
    if best.gain < -max(MATTERS, best.half):
        which = "the best mover" if all_moved else "the best of its movers that did not stand still"
        return ClassVerdict(runs_on, "hurts", f"Even {which} loses: {told}.", best)
    if best.half > MATTERS and best.gain + best.half > MATTERS:
        scatter = Unknown(f"{told}, and the seeds do not tell whether that is a gain", "more seeds (--seeds)")
        return ClassVerdict(runs_on, "cannot tell", best=best, unknown=scatter)
    return ClassVerdict(runs_on, "does not pay", f"The best mover has no gain that counts: {told}.", best)


def _over_kernel(classes: Sequence[ClassVerdict]) -> Iterator[str]:
    """What pghot brings beyond what the kernel does alone."""
    kernel, user_space = (next(each.best for each in classes if each.runs_on == it) for it in CLASSES[:2])
    if kernel is None or user_space is None or kernel.row.access != user_space.row.access:
        return
    if not user_space.ties_with(kernel):  # else `notes_on` says so
        yield f"{user_space.label} gains {points(user_space, kernel)} than {kernel.label} of the kernel alone."


def _decisive(classes: Sequence[ClassVerdict]) -> ClassVerdict:
    """The best outcome among the classes that a user can have today and that were run, else that of what is to come."""
    today = [each for each in classes if each.runs_on != "to come" and each.was_run]
    best_first = sorted(today, key=lambda each: (OUTCOMES.index(each.outcome), -_gain(each)))
    return best_first[0] if best_first else classes[-1]


def _gain(verdict: ClassVerdict) -> float:
    return verdict.best.gain if verdict.best else 0.0


def _headline(decisive: ClassVerdict, classes: Sequence[ClassVerdict]) -> str:
    coming = classes[-1]
    where = "with patches or hardware to come" if decisive is coming else "on a released kernel"
    only = (
        " It pays with patches or hardware to come." if coming.outcome == "pays" != decisive.outcome else ""
    )
    if decisive.outcome == "cannot tell":
        return f"Whether moving pages pays {where} cannot be told.{only}"
    return f"Moving pages {decisive.outcome} {where}.{only}"
