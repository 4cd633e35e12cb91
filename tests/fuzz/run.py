"""Fuzz pghot: `python tests/fuzz/run.py [KIND...] --seconds 3600`. One table at the end; exit code 1 for any defect."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Not this folder, whose kinds may have the names of modules of the standard library.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from fuzz import harness  # noqa: E402

_PROGRESS_S = 2.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="which kinds; without any, all")
    parser.add_argument("--inputs", type=int, metavar="N", help="so many of each kind")
    parser.add_argument("--seconds", type=float, metavar="S", help="so long, all kinds together")
    parser.add_argument("--seed", type=int, metavar="K", help="the first seed; without it, a random one")
    parser.add_argument("--json", action="store_true", help="JSON instead of the table")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the input of the first seed there")
    given = parser.parse_args()
    if given.inputs is None and given.seconds is None and given.keep is None:
        parser.error("name --inputs or --seconds")
    return given


def main() -> int:
    """The command. Returns the exit code."""
    given = _arguments()
    known = harness.kinds()
    unknown = [name for name in given.kinds if name not in known]
    if unknown:
        print(f"unknown kind {unknown[0]}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    chosen = [known[name] for name in given.kinds or known]
    seed = random.SystemRandom().randrange(1 << 40) if given.seed is None else given.seed
    if given.keep is not None:
        return _keep(chosen, seed, given.keep)
    totals = _run(chosen, seed, given.inputs, given.seconds, _progress())
    print(json.dumps(_document(totals, seed), indent=1) if given.json else _table(totals, seed))
    for name, total in totals.items():
        for defect, count in _distinct(total.defects):
            times = f" ({count} of this sort)" if count > 1 else ""
            print(f"\n{name}, seed {defect.seed}: {defect.outcome}{times}\n{defect.text}", file=sys.stderr)
            print(f"again: {_again(name, defect.seed)}", file=sys.stderr)
    return int(any(total.defects for total in totals.values()))


def _distinct(defects: list[harness.Result]) -> list[tuple[harness.Result, int]]:
    """One defect of each sort, and how many there are: of those that end in the same place with the same error."""
    sorts: dict[tuple[str, str, str], list[harness.Result]] = {}
    for defect in defects:
        lines = defect.text.strip().splitlines() or [""]
        places = [line for line in lines if line.startswith("  File ")] or [""]
        sorts.setdefault((defect.outcome, places[-1], lines[-1].partition(":")[0]), []).append(defect)
    return [(found[0], len(found)) for found in sorts.values()]


def _keep(chosen: list[harness.Kind], seed: int, folder: Path) -> int:
    defects = 0
    for kind in chosen:
        place = folder / kind.NAME
        place.mkdir(parents=True)
        result = harness.one(kind, seed, place)
        print(f"{kind.NAME}, seed {seed}: {result.outcome} {result.text}\nit is in {place}")
        defects += result.outcome in harness.DEFECTS
    return int(defects > 0)


def _run(
    chosen: list[harness.Kind],
    seed: int,
    inputs: int | None,
    seconds: float | None,
    progress: Callable[[dict[str, harness.Totals]], None],
) -> dict[str, harness.Totals]:
    """All kinds by turns, a batch each, until there were enough inputs or the time is over; or until Ctrl-C.

    The next turn is that of the kind which took the least time so far: what is quickly checked gets more inputs.
    """
    end = time.monotonic() + (float("inf") if seconds is None else seconds)
    most = sys.maxsize if inputs is None else inputs
    totals = {kind.NAME: harness.Totals() for kind in chosen}
    taken_s = dict.fromkeys(totals, 0.0)
    waiting = list(chosen)
    try:
        while waiting and (began := time.monotonic()) < end:
            kind = min(waiting, key=lambda each: taken_s[each.NAME])
            total = totals[kind.NAME]
            at = total.inputs
            for result in harness.run(kind, range(seed + at, seed + min(most, at + harness.BATCH))):
                total.add(result)
                if result.outcome in harness.DEFECTS:
                    print(f"{result.outcome}: {_again(kind.NAME, result.seed)}", file=sys.stderr, flush=True)
                progress(totals)
                if time.monotonic() > end:
                    break
            taken_s[kind.NAME] += time.monotonic() - began
            if total.inputs == most:
                waiting.remove(kind)
    except KeyboardInterrupt:
        print("\ninterrupted: what there was until here", file=sys.stderr)
    return totals


def _progress() -> Callable[[dict[str, harness.Totals]], None]:
    """Says how far it is: every two seconds on a terminal, every minute elsewhere."""
    terminal = sys.stderr.isatty()
    step = _PROGRESS_S if terminal else 60.0
    last = time.monotonic()

    def say(totals: dict[str, harness.Totals]) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < step:
            return
        last = now
        inputs = sum(total.inputs for total in totals.values())
        defects = sum(len(total.defects) for total in totals.values())
        line = f"{inputs:,} inputs, {defects} defects"
        print(f"\r{line}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)

    return say


_COLUMNS = ("inputs", *harness.OUTCOMES, *harness.DEFECTS)


def _row(total: harness.Totals) -> dict[str, int]:
    return {"inputs": total.inputs, **{name: total.counts[name] for name in _COLUMNS[1:]}}


def _document(totals: dict[str, harness.Totals], seed: int) -> dict[str, Any]:
    return {
        "schema": "pghot.fuzz/1",
        "first_seed": seed,
        "kinds": {
            name: {**_row(total), "peak_bytes": total.peak_bytes, "peak_seed": total.peak_seed}
            for name, total in totals.items()
        },
        "defects": [
            {"kind": name, "seed": each.seed, "outcome": each.outcome, "again": _again(name, each.seed)}
            for name, total in totals.items()
            for each in total.defects
        ],
    }


def _table(totals: dict[str, harness.Totals], seed: int) -> str:
    rows = [["kind", *_COLUMNS, "peak memory"]]
    for name, total in totals.items():
        peak = f"{total.peak_bytes >> 20} MiB"
        rows.append([name, *(f"{value:,}" for value in _row(total).values()), peak])
    everything = [sum(_row(total)[name] for total in totals.values()) for name in _COLUMNS]
    peak = max(total.peak_bytes for total in totals.values())
    rows.append(["all", *(f"{value:,}" for value in everything), f"{peak >> 20} MiB"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(text.rjust(width) if at else text.ljust(width) for at, (text, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    return "\n".join([*lines, f"first seed {seed}"])


def _again(name: str, seed: int) -> str:
    return f"python tests/fuzz/run.py {name} --seed {seed} --inputs 1"


if __name__ == "__main__":
    sys.exit(main())
