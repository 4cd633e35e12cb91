"""A slow, plain version of the log of decisions: all events of one page in order, and the rows that tell of them."""

from __future__ import annotations

from itertools import groupby
from typing import Any

Event = tuple[Any, ...]
Row = dict[str, Any]


def rows_reference(events: list[Event], rank: list[int], sources: int, end_ms: int) -> list[Row]:
    """The rows of a page. An event is one of

    ("used", touches, misses)  ("seen", source, count, ms)  ("held", why, heat, ms)  ("asked", why, heat)
    ("placed", node, ms)       ("moved", source, target, by, ms), target None: freed
    """
    decisions: list[Event] = []  # each with what was used and seen since the one before
    since: list[Event] = []
    asked: Event | None = None
    for event in events:
        if event[0] in ("used", "seen"):
            since.append(event)
        elif event[0] == "asked":
            asked = event
        elif event[0] == "held":
            decisions.append(("held", event[1], event[2], event[3], since))
            asked, since = None, []
        elif event[0] == "placed":
            decisions.append(("placed", event, None, None, []))
        else:
            decisions.append(("moved", event, asked, None, since))
            asked, since = None, []
    rows = []
    for number, same in groupby(
        enumerate(decisions), key=lambda each: each[1][1] if each[1][0] == "held" else each[0]
    ):
        group = [decision for _, decision in same]
        evidence = [event for decision in group for event in decision[4]]
        if group[0][0] == "held":
            row = {"what": "held", "why": number, "heat": group[-1][2], "times": len(group)}
            rows.append(_row(row, group[0][3], group[-1][3], evidence, sources))
        else:
            ((kind, event, wanted, _, _),) = group
            if kind == "placed":
                rows.append(
                    _row({"what": "placed", "target": event[1]}, event[2], event[2], evidence, sources)
                )
            else:
                rows.append(_row(_moved(event, wanted, rank), event[4], event[4], evidence, sources))
    if any(event[1] for event in since if event[0] == "used") or any(event[0] == "seen" for event in since):
        rows.append(_row({"what": "undecided"}, end_ms, end_ms, since, sources))
    return rows


def _moved(event: Event, asked: Event | None, rank: list[int]) -> Row:
    _, source, target, by, _ = event
    if target is None:
        what, fitting = "freed", ("balance",)
    elif rank[target] == rank[source]:
        what, fitting = "moved", ("balance",)
    elif rank[target] < rank[source]:
        what, fitting = "promoted", ("hot", "balance")
    else:
        what, fitting = "demoted", ("cold", "balance")
    why, heat = (asked[1], asked[2]) if asked is not None and asked[1] in fitting else (None, None)
    return {"what": what, "why": why, "heat": heat, "source": source, "target": target, "by": by}


def _row(row: Row, first_ms: int, last_ms: int, evidence: list[Event], sources: int) -> Row:
    used = [event for event in evidence if event[0] == "used"]
    seen = [event for event in evidence if event[0] == "seen"]
    return {
        "why": None, "heat": None, "times": 1, "source": None, "target": None, "by": None,
        **row,
        "first_ms": first_ms,
        "last_ms": last_ms,
        "touches": sum(touches for _, touches, _ in used),
        "misses": sum(misses for _, _, misses in used),
        "seen": [sum(event[2] for event in seen if event[1] == source) for source in range(sources)],
        "seen_ms": seen[-1][3] if seen else None,
    }  # fmt: skip
