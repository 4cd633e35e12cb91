"""The verdict: does moving pages pay on this workload and these tiers, by how much, and what limits it.

Every sentence is derived from the figures of the comparison; the thresholds are named here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pghot.sim.sources import clairvoyant

MATTERS = 0.02  # a difference in run time below this share is called none
ENOUGH = 0.9  # who captures this share of the possible gain is not asked what limits it
IDLE = 0.001  # who promotes less than this share of the footprint moved nothing
Row = Mapping[str, Any]


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


def judge(summary: Sequence[Row], setup: Mapping[str, Any]) -> Verdict:
    """A verdict over the summary rows of a comparison. Who hears a source that no machine has is no mover."""
    able = [row for row in summary if row["kind"] == "mover" and not clairvoyant(row["sources"])]
    sound = [row for row in summary if _is_sound(row)]
    real = [row for row in able if row in sound] if _find(sound, "none") else []
    unsafe = [row["label"] for row in able if row not in real]
    movers = [row for row in real if row["promotions"] >= IDLE * setup["footprint_pages"]]
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
    best = max(movers, key=lambda row: row["speedup"])
    worst = min(movers, key=lambda row: row["speedup"])
    gain = best["speedup"] - 1
    noise = max(MATTERS, best["speedup_ci95"] or 0.0)
    outcome = "pays" if gain > noise else "hurts" if gain < -noise else "does not pay"
    sentences = [_headline(outcome, best, gain), *_limits(best, sound)]
    if worst["speedup"] < 1 - MATTERS and outcome != "hurts":
        sentences.append(
            f"Moving can also hurt here: {worst['label']} is {_percent(1 / worst['speedup'] - 1)} slower than "
            "'none'."
        )
    idle = [row["label"] for row in real if row not in movers]
    if idle:
        who = ", ".join(idle) if len(idle) <= 3 else f"{len(idle)} runs"
        sentences.append(f"Not judged, having promoted (almost) nothing: {who}.")
    sentences += _against_static(best, sound)
    if best["policy"] == "writable":
        sentences.append(
            "Nothing was lost here, but under 'writable' a hostile program may lose data of all: `pghot margin` says "
            "which reserve, if any, prevents that."
        )
    sentences += _unjudged(unsafe)
    return Verdict(outcome, best["label"], gain, sentences)


def _is_sound(row: Row) -> bool:
    """Whether the run did all its work and kept all its data, and has a baseline that did."""
    return row["speedup"] is not None and not row["lost_pages"]


def _unjudged(labels: Sequence[str]) -> list[str]:
    if not labels:
        return []
    return [f"Not judged, for data was lost or a tenant killed, there or under 'none': {', '.join(labels)}."]


def _headline(outcome: str, best: Row, gain: float) -> str:
    who = f"the best mover, {best['label']}, "
    spread = f" (95 % interval +-{_percent(best['speedup_ci95'])})" if best["speedup_ci95"] else ""
    if outcome == "pays":
        return f"Moving pages pays: {who}is {_percent(gain)} faster than 'none' in the steady state{spread}."
    if outcome == "hurts":
        return f"Moving pages hurts: even {who}is {_percent(1 / (1 + gain) - 1)} slower than 'none'{spread}."
    return f"Moving pages does not pay: {who}changes run time by {100 * gain:+.1f} %{spread}."


def _limits(best: Row, summary: Sequence[Row]) -> list[str]:
    """What keeps the best mover from doing better: at most three sentences, the largest cause first."""
    none = _find(summary, "none")
    room = none["slowdown"] - 1 if none else 0.0
    if room < -MATTERS / 2:
        return [
            f"All memory in the top tier would be {_percent(-room)} slower: it trades latency for bandwidth."
        ]
    if room < MATTERS:
        return [
            f"There is little to gain: without moves the program is only {_percent(room)} slower than all-fast."
        ]
    assert none is not None
    captured = (none["slowdown"] - best["slowdown"]) / room
    sentences = [
        f"All-fast would be {_percent(room)} faster than 'none'; {best['label']} captures "
        f"{max(0, round(100 * captured))} % of that gap."
    ]
    if captured > ENOUGH:
        return sentences
    oracle = max(
        (row for row in summary if row["kind"] == "oracle" or clairvoyant(row["sources"])),
        key=lambda row: row["speedup"],
        default=None,
    )
    # With compressed memory an oracle of misses can do worse than a mover: it knows nothing of what writes cost there.
    if oracle is not None and max(oracle["speedup"], best["speedup"]) - 1 < MATTERS:
        sentences.append(
            "Even an oracle gains nothing: the misses are spread too evenly for this share of fast memory."
        )
        return sentences
    causes = sorted(_causes(best), reverse=True)
    if causes:
        sentences.append("What limits it: " + "; ".join(text for _, text in causes[:2]) + ".")
    elif oracle is not None and oracle["speedup"] > best["speedup"] * (1 + MATTERS):
        sentences.append(f"{oracle['label']} shows that {_percent(oracle['speedup'] - 1)} was possible.")
    return sentences


def _causes(best: Row) -> list[tuple[float, str]]:
    """(weight, sentence part) for each thing that costs the mover."""
    causes = []
    coverage = best["coverage"]
    if coverage is not None and coverage < 0.8:
        causes.append((1 - coverage, f"only {_percent(coverage)} of the true hot set is in fast memory"))
    accuracy = best["accuracy"]
    if accuracy is not None and accuracy < 0.6:
        causes.append(
            (0.5 * (1 - accuracy), f"only {_percent(accuracy)} of its promotions were of hot pages")
        )
    overhead = best["tracking_app_share"] + best["moving_app_share"]
    if overhead > 0.02:
        causes.append((overhead, f"tracking and moving take {_percent(overhead)} of the program's time"))
    if best["promotions"] and best["pingpong"] > 0.3 * best["promotions"]:
        share = best["pingpong"] / best["promotions"]
        causes.append((0.3 * share, f"{_percent(share)} of its promotions repeat an earlier one (ping-pong)"))
    return causes


def _against_static(best: Row, summary: Sequence[Row]) -> list[str]:
    """Whether a placement that never promotes does as well, or a clairvoyant one better."""
    oracle = _find(summary, "oracle-static")
    if oracle is not None and oracle["speedup"] > best["speedup"] * (1 + MATTERS):
        return [
            f"The best fixed placement, oracle-static, is {_percent(oracle['speedup'] / best['speedup'] - 1)} faster "
            "still: what pays is where pages are, not that they move."
        ]
    static = max(
        (row for row in summary if row["kind"] == "static" or row["policy"] == "demotion"),
        key=lambda row: row["speedup"],
        default=None,
    )
    if (
        static is None
        or static["speedup"] < best["speedup"] * (1 - MATTERS)
        or static["speedup"] < 1 + MATTERS
    ):
        return []
    return [
        f"What never promotes does as well or better: {static['label']}, {static['speedup']:.2f} x 'none'."
    ]


def _find(summary: Sequence[Row], label: str) -> Row | None:
    return next((row for row in summary if row["label"] == label), None)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if abs(share) < 0.1 else f"{100 * share:.0f} %"
