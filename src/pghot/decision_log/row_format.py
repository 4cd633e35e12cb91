"""The rows of the log of decisions: what they say, as NumPy records while a run goes on and as Arrow in the file.

A row is an *episode* of a page: the same decision, taken as often as `times` says, from `first_ms` to `last_ms`. So a
page that is refused at each of a thousand rounds has one row. Rows of a page come in the order of time. What it did
and who saw it since its last row is in the row.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import pyarrow as pa

from pghot.policies.decisions import HeldBack, Moved, MoveError
from pghot.recording import format as fmt

SCHEMA = "pghot.decisions/1"
PARTIAL = ".partial"  # behind the name of a live run's log until its end
FACTS_KEY = fmt.LOG_KEY.encode()  # in the file's metadata: its facts, sealed


class What(StrEnum):
    """What a row tells of."""

    PLACED = "placed"  # the page got its first node: it was touched for the first time
    PROMOTED = "promoted"
    DEMOTED = "demoted"
    MOVED = "moved"  # to another node of the same tier
    FREED = "freed"  # its program was killed
    HELD = "held"  # the policy left it where it was
    RESTED = "rested"  # the policy moved nothing in whole rounds; such a row has no page
    UNDECIDED = "undecided"  # what happened after the last decision, up to the end of the run


WHATS = tuple(What)
WHYS: tuple[HeldBack | Moved | MoveError | None, ...] = (None, *HeldBack, *Moved, *MoveError)
# As numbers, for the kernels.
PLACED, PROMOTED, DEMOTED, MOVED, FREED, HELD, RESTED, UNDECIDED = range(len(WHATS))
NO_WHY = 0
WHY_HOT, WHY_COLD, WHY_BALANCE = map(WHYS.index, Moved)
NEVER = np.uint32(0xFFFF_FFFF)  # as a time; as a page, no page
NOT_TOLD = np.int32(-1)  # as a heat

ROW = np.dtype(
    [
        *((name, np.uint32) for name in ("page", "first_ms", "last_ms", "times")),
        *((name, np.uint32) for name in ("touches", "misses", "seen_ms")),
        ("heat", np.int32),
        *((name, np.uint8) for name in ("what", "why", "source", "target", "by")),
    ],
    align=True,
)

COLUMNS = pa.schema(
    [
        ("run", pa.string()),
        ("page", pa.uint32()),  # null: whole rounds
        ("first_ms", pa.uint32()),  # real milliseconds since the run began
        ("last_ms", pa.uint32()),
        ("what", pa.string()),
        ("why", pa.string()),  # null: nobody gave a reason
        ("times", pa.uint32()),
        ("touches", pa.uint32()),  # since the page's last row; cut at 2^32 - 1
        ("misses", pa.uint32()),
        ("seen", pa.list_(pa.uint32())),  # by each source of the run, in its order
        ("seen_ms", pa.uint32()),  # when a source saw it last; null: none did
        ("heat", pa.int32()),  # what the policy had counted of it; null: it does not say
        ("source", pa.uint8()),  # nodes it went from and to; null: it did not move
        ("target", pa.uint8()),
        ("by", pa.string()),  # the thread that moved it
    ]
)


def to_arrow(run: str, rows: np.ndarray, seen: np.ndarray, movers: list[str]) -> pa.Table:
    """Rows as they stand in the file.

    rows    ROW[K]
    seen    uint32[K, sources]
    movers  the threads by their number in `by`, the first of which is nobody
    """
    count, sources = seen.shape
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * sources)
    return pa.table(
        {
            "run": pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int8)), [run]).cast(
                pa.string()
            ),
            "page": _known(rows["page"], NEVER),
            "first_ms": rows["first_ms"],
            "last_ms": rows["last_ms"],
            "what": _words(rows["what"], [each.value for each in WHATS]),
            "why": _words(rows["why"], [each and each.value for each in WHYS]),
            "times": rows["times"],
            "touches": rows["touches"],
            "misses": rows["misses"],
            "seen": pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(seen).ravel())),
            "seen_ms": _known(rows["seen_ms"], NEVER),
            "heat": _known(rows["heat"], NOT_TOLD),
            "source": _known(rows["source"], np.uint8(255)),
            "target": _known(rows["target"], np.uint8(255)),
            "by": _words(rows["by"], [None, *movers[1:]]),
        },
        schema=COLUMNS,
    )


def _known(values: np.ndarray, unknown: np.generic) -> pa.Array:
    return pa.array(values, mask=values == unknown)


def _words(numbers: np.ndarray, words: list[str | None]) -> pa.Array:
    return pa.array(words, pa.string()).take(pa.array(numbers))
