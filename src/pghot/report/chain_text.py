"""What a policy did about a page, and why, in words: from what the page did over what was seen to where it went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pghot.decision_log.reading import RunRows
from pghot.decision_log.row_format import What
from pghot.policies.decisions import HeldBack, Moved, MoveError
from pghot.printable import printable
from pghot.units import counted

REFUSED = {
    HeldBack.NOTHING_SEEN: "left alone: nothing was seen of it",
    HeldBack.THRESHOLD: "below the threshold: no candidate",
    HeldBack.GATE: "a candidate, refused by the gate as too old",
    HeldBack.RATE: "a candidate, refused by the rate limit",
    HeldBack.FREE_SPACE: "a candidate, refused: no room in the top tier",
    HeldBack.NEVER_PRESSED: "left alone: the tiers were not as busy as the policy waits for",
    HeldBack.BUSY: "a candidate, refused: the thread that moves had no time",
}
_MOVED = {
    Moved.HOT: "a candidate",
    Moved.COLD: "cold, to make room",
    Moved.BALANCE: "to even out the load of the tiers",
}
_FAILED = {
    MoveError.EACCES: "other programs map it, too",
    MoveError.EBUSY: "the page was busy",
    MoveError.EFAULT: "nothing is mapped there",
    MoveError.EINVAL: "not valid",
    MoveError.EIO: "it could not be written back",
    MoveError.ENOENT: "the page is not present",
    MoveError.ENOMEM: "the target had no page to give",
    MoveError.EPERM: "not permitted",
    MoveError.OTHER: "which is not told",
}
_DECISIONS = (What.HELD, What.PROMOTED, What.DEMOTED, What.MOVED)
Row = Mapping[str, Any]


def chain(run: RunRows, nodes: Sequence[str], top: Sequence[bool]) -> list[str]:
    """The lines of one page in one run, in the order of time."""
    rows = run.rows.to_pylist()
    lines = [f"{when(row):>17}  {step(row, run.facts, nodes)}" for row in rows]
    return [
        *lines,
        *([] if decided(rows) else [f"{'':>17}  never decided on: {why_not(run, rows, nodes, top)}"]),
    ]


def decided(rows: Sequence[Row]) -> bool:
    """Whether somebody decided on the page, or moved it."""
    return any(row["what"] in _DECISIONS for row in rows)


def when(row: Row) -> str:
    """From when to when.

    >>> when({"first_ms": 400, "last_ms": 12_400}), when({"first_ms": 400, "last_ms": 400})
    ('0.40 to 12.40 s', '0.40 s')
    """
    first, last = f"{row['first_ms'] / 1000:,.2f}", f"{row['last_ms'] / 1000:,.2f}"
    return f"{last} s" if first == last else f"{first} to {last} s"


def step(row: Row, run: Row, nodes: Sequence[str]) -> str:
    """What one row says.

    nodes  the names of the machine's nodes
    run    see `RunSpec.facts`
    """
    if row["what"] == What.PLACED:
        if run.get("live"):
            return f"first seen, on {printable(nodes[row['target']])}"
        return f"placed on {printable(nodes[row['target']])} when it was first touched"
    parts = [*([] if run.get("live") else [_did(row)]), *([_seen(row, run)] if run["sources"] else [])]
    if row["what"] == What.UNDECIDED:
        return "; ".join([*parts, "no decision up to the end"])
    if (heat := _heat(row, run)) is not None:
        parts.append(heat)
    return "; ".join([*parts, _decision(row, nodes, would=not run.get("apply", True))])


def _did(row: Row) -> str:
    if not row["touches"]:
        return "not touched"
    misses = f", {counted(row['misses'], 'miss')}" if row["misses"] else ""
    return f"{counted(row['touches'], 'touch')}{misses}"


def _seen(row: Row, run: Row) -> str:
    seen = [
        f"{printable(source)} saw {counted(count, 'access')}"
        for source, count in zip(run["sources"], row["seen"], strict=True)
        if count
    ]
    return ", ".join(seen) if seen else "no source saw it"


def _heat(row: Row, run: Row) -> str | None:
    """What the policy had counted, and what it asks for."""
    if row["heat"] is None:
        return None
    hot_from = run["hot_from"]
    return f"counted {row['heat']}" + (f", hot from {hot_from}" if hot_from is not None else "")


def _decision(row: Row, nodes: Sequence[str], would: bool) -> str:
    """What became of it. would: nothing was really moved, in a dry run."""
    if row["what"] == What.HELD:
        times = f" ({row['times']:,} times)" if row["times"] > 1 else ""
        return f"{held(row['why'])}{times}"
    if row["what"] == What.FREED:
        return "its program was killed"
    why = f"{_MOVED[Moved(row['why'])]}: " if row["why"] else ""
    source, target = (printable(nodes[row[end]]) for end in ("source", "target"))
    made_room = ", which made room" if not row["why"] and row["what"] == What.DEMOTED else ""
    did = f"would be {row['what']}" if would else row["what"]
    return f"{why}{did} from {source} to {target} by {printable(row['by'])}{made_room}"


def held(why: str) -> str:
    """Why a page stayed where it was: a refusal of the policy, or an error of move_pages."""
    if why in set(MoveError):
        return f"a candidate, but move_pages failed with {why}: {_FAILED[MoveError(why)]}"
    return REFUSED[HeldBack(why)]


def why_not(run: RunRows, rows: Sequence[Row], nodes: Sequence[str], top: Sequence[bool]) -> str:
    """Why nothing was decided about the page."""
    facts = run.facts
    if not rows:
        if facts.get("live"):
            return f"{' and '.join(map(printable, facts['sources']))} never saw it{_rested(run)}"
        return "the program did not touch it in the replay"
    if facts["kind"] != "mover":
        return f"{facts['policy']} moves nothing by what it hears" if facts["kind"] != "oracle" else _oracle()
    home = next((row["target"] for row in rows if row["what"] == What.PLACED), None)
    if home is not None and top[home]:
        return f"it was on {printable(nodes[home])} from the start, in the top tier"
    if not any(count for row in rows for count in row["seen"]):
        return f"{' and '.join(map(printable, facts['sources']))} never saw it{_rested(run)}"
    return f"it was seen, but no round came to it{_rested(run)}"


def _oracle() -> str:
    return "the oracle had no use for moving it"


def _rested(run: RunRows) -> str:
    """Whole rounds without a move, by reason."""
    rounds: dict[str, int] = {}
    for row in run.rests:
        rounds[row["why"]] = rounds.get(row["why"], 0) + row["times"]
    told = [f"{why} in {counted(times, 'round')}" for why, times in rounds.items()]
    return f" ({'; '.join(told)})" if told else ""
