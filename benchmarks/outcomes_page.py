"""The page that benchmarks/evidence.py writes: a pure function of the kept cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from kept_cells import (
    CLASSES,
    MATTERS,
    OUTCOMES,
    Kept,
    class_of,
    listed,
    movers,
    named,
    oracle_gains,
    times,
    wrapped,
)
from pghot.units import format_share

CHANGES = {
    "near the limit": "the gains are within 2 points of each other, on either side of what counts. The answer is the "
    "same.",
    "the seeds": "one gain lies within the 95 % interval of the other over the seeds: whether they differ, more seeds "
    "would tell.",
    "another cache": "the tiers' last-level cache holds a smaller part of a larger program, so a smaller one of the "
    "recorded caches stands for it. Then hotter lines miss as well, and these a small fast tier can serve.",
    "another pace": "the misses are the same. But with more memory a scan takes longer, and so does each phase of the "
    "program: movers find and move a smaller part of the memory, and what they moved is of use for longer.",
}


def render(cells: Sequence[Kept], matrix: Sequence[tuple[str, float]]) -> str:
    """The page.

    matrix  tiers and fast share of every cell, also of those that were not computed: they are left out, and that is
            said
    """
    if not cells:
        return "# Does moving pages pay?\n\nNo cell was computed: run `python benchmarks/evidence.py`.\n"
    lines = [*_head(cells, len(matrix)), "", *_done(cells, matrix), "", *_counts(cells), "", *_care(cells)]
    lines += ["", *_matrix(cells), "", *_changes(cells)]
    return "\n".join(map(wrapped, [*lines, "", *_reasons(cells)])) + "\n"


def _head(cells: Sequence[Kept], total: int) -> Iterator[str]:
    settings = cells[0]["settings"]
    sources = Counter(kept["source"] for kept in cells)
    yield "# Does moving pages pay?"
    yield ""
    yield "Written by `python benchmarks/evidence.py`. **All figures are simulated.** Each bundled recording stands for"
    yield "a program with the footprint F, on tiers whose fast part holds the given share of F. Outcomes and classes"
    yield "are those of [`pghot compare`](cli.md#pghot-compare). Gains are over `none`."
    yield ""
    duration = f"{settings['duration_s']:g} s of the real system"
    seeds = settings["seeds"]
    yield f"* {len(cells)} of {total} cells, {seeds} seed{'s' * (seeds > 1)}, {duration}."
    if seeds == 1:
        yield "* With one seed no figure has an interval: a gain or a loss of a few points may be chance."
    yield f"* Compared in each: {listed(movers(cells[0]))}."
    if len(sources) > 1:
        each = [f"{count} with {source}" for source, count in sorted(sources.items())]
        yield f"* The cells were computed with {len(sources)} versions of the code: {listed(each)}."


def _done(cells: Sequence[Kept], matrix: Sequence[tuple[str, float]]) -> Iterator[str]:
    """How many cells of each part of the matrix were computed."""
    done = Counter((kept["cell"]["tiers"], kept["cell"]["fast_share"]) for kept in cells)
    every = Counter(matrix)
    shares = sorted({share for _, share in matrix})
    yield "## What was computed"
    yield ""
    yield f"| tiers | {' | '.join(f'{100 * share:g} %' for share in shares)} |"
    yield "|---|" + "--:|" * len(shares)
    for tiers in dict.fromkeys(tiers for tiers, _ in matrix):
        counts = [f"{done[tiers, share]} of {every[tiers, share]}" for share in shares]
        yield f"| {tiers} | {' | '.join(counts)} |"


def _counts(cells: Sequence[Kept]) -> Iterator[str]:
    yield "## How often"
    yield ""
    yield f"| class | {' | '.join(OUTCOMES)} |"
    yield "|---|" + "--:|" * len(OUTCOMES)
    for runs_on, title in CLASSES.items():
        counts = Counter(class_of(kept, runs_on)["outcome"] for kept in cells)
        yield f"| {title} | {' | '.join(str(counts[outcome]) for outcome in OUTCOMES)} |"


def _care(cells: Sequence[Kept]) -> Iterator[str]:
    """What a reader should know before the outcomes are believed."""
    in_part = [named(kept) for kept in cells if kept["setup"]["timing"]["passes"] < 1]
    beaten = [named(kept) for kept in cells if _beats_the_oracle(kept)]
    idle = [
        f"{named(kept)} ({title})"
        for kept in cells
        for runs_on, title in CLASSES.items()
        if class_of(kept, runs_on)["outcome"] == "hurts" and _lossless(kept, runs_on)
    ]
    yield "## To be read with care"
    yield ""
    for found, what in (
        (in_part, "less than the whole recording was played, so that parts of the program are missing"),
        (beaten, "a mover gains over 2 points more than the better oracle, which is then no upper bound"),
        (idle, "a class hurts, but one of its movers lost nothing, because it promoted next to nothing"),
    ):
        yield f"* {times(len(found))} {what}{': ' if found else ''}{listed(found)}."


def _beats_the_oracle(kept: Kept) -> bool:
    best = max(
        (each["gain"] for each in kept["verdict"]["classes"] if each["gain"] is not None), default=-1.0
    )
    gains = oracle_gains(kept)
    return bool(gains) and best > max(gains) + MATTERS


def _lossless(kept: Kept, runs_on: str) -> bool:
    """Whether a mover of the class has no loss that counts."""
    rows = [row for row in kept["summary"] if row["kind"] == "mover" and row["runs_on"] == runs_on]
    return any(row["speedup"] and row["speedup"] > 1 - MATTERS for row in rows)


def _matrix(cells: Sequence[Kept]) -> Iterator[str]:
    """A row for each recording, tiers and share; the footprints side by side."""
    footprints = _footprints(cells)
    heads = [f"{title}, {size} GiB" for title in CLASSES.values() for size in footprints]
    yield "## Each cell"
    yield ""
    sizes = ", ".join(map(str, footprints))
    yield f"| recording | tiers | fast share | passes, {sizes} GiB | oracle, {sizes} GiB | {' | '.join(heads)} |"
    yield "|---|---|--:|--:|--:|" + "---|" * len(heads)
    for (recording, tiers, share), pair in _pairs(cells):
        texts = [
            _outcome(pair[size], runs_on) if size in pair else "-"
            for runs_on in CLASSES
            for size in footprints
        ]
        passes = [
            f"{pair[size]['setup']['timing']['passes']:.2g}" if size in pair else "-" for size in footprints
        ]
        oracles = [_oracle(pair[size]) if size in pair else "-" for size in footprints]
        figures = f"{100 * share:g} % | {', '.join(passes)} | {', '.join(oracles)}"
        yield f"| {recording} | {tiers} | {figures} | {' | '.join(texts)} |"


def _changes(cells: Sequence[Kept]) -> Iterator[str]:
    """Where the outcome of a class is not the same under each footprint, and why."""
    rows, kinds, compared = [], Counter[str](), 0
    for (recording, tiers, share), pair in _pairs(cells):
        if len(pair) < 2:
            continue
        small, large = pair[min(pair)], pair[max(pair)]
        for runs_on, title in CLASSES.items():
            compared += 1
            if class_of(small, runs_on)["outcome"] != class_of(large, runs_on)["outcome"]:
                kinds[kind := _kind_of_change(small, large, runs_on)] += 1
                both = f"{_outcome(small, runs_on)} | {_outcome(large, runs_on)}"
                why = "; ".join([kind, *(_why(kept, runs_on) for kept in (small, large))])
                rows.append(f"| {recording} | {tiers} | {100 * share:g} % | {title} | {both} | {why} |")
    sizes = _footprints(cells)
    yield "## Where the footprint changes the outcome"
    yield ""
    yield f"In {len(rows)} of {compared} pairs of cells the outcome of a class differs between F = {sizes[0]} GiB and"
    yield f"F = {sizes[-1]} GiB."
    if rows:
        yield ""
        yield from (f"* {times(kinds[kind])} {kind}: {meaning}" for kind, meaning in CHANGES.items())
        yield ""
        yield f"| recording | tiers | fast share | class | {sizes[0]} GiB | {sizes[-1]} GiB | why |"
        yield "|---|---|--:|---|---|---|---|"
        yield from rows


def _kind_of_change(small: Kept, large: Kept, runs_on: str) -> str:
    """The first of `CHANGES` that holds."""
    close, seeds, cache, pace = CHANGES
    found = [class_of(kept, runs_on) for kept in (small, large)]
    if None not in (gains := [each["gain"] for each in found]):
        between = abs(gains[0] - gains[1])
        if between <= MATTERS and "cannot tell" not in [each["outcome"] for each in found]:
            return close
        if between <= max(each["gain_ci95"] or 0.0 for each in found):
            return seeds
    return cache if small["setup"]["llc_bytes"] != large["setup"]["llc_bytes"] else pace


def _why(kept: Kept, runs_on: str) -> str:
    """What decided a class in a cell: what its best mover did, or why nothing can be told."""
    size, found = kept["cell"]["footprint_gib"], class_of(kept, runs_on)
    row = next((row for row in kept["summary"] if row["label"] == found["best"]), None)
    if row is None:
        return f"{size} GiB: {_short(kept, runs_on)}"
    promoted = row["promotions"] / kept["setup"]["footprint_pages"]
    paid = row["tracking_app_share"] + row["moving_app_share"]
    return (
        f"{size} GiB: `{row['label']}` promoted {100 * promoted:.0f} % of the pages, "
        f"{100 * (row['fast_miss_share'] or 0):.0f} % of the misses are fast, it takes {100 * paid:.1f} % of the time"
    )


def _reasons(cells: Sequence[Kept]) -> Iterator[str]:
    """Each reason why something cannot be told, what would tell, and how often."""
    found = Counter(
        (title, _short(kept, runs_on), class_of(kept, runs_on)["would_tell"])
        for kept in cells
        for runs_on, title in CLASSES.items()
        if class_of(kept, runs_on)["outcome"] == "cannot tell"
    )
    yield "## Why it cannot be told"
    yield ""
    if not found:
        yield "It can be told in every cell."
        return
    yield "| class | reason | what would tell | cells |"
    yield "|---|---|---|--:|"
    for (title, reason, tells), count in found.most_common():
        yield f"| {title} | {reason} | {tells} | {count} |"


def _outcome(kept: Kept, runs_on: str) -> str:
    """ "pays +12.3 %", "cannot tell: the seeds differ" """
    found = class_of(kept, runs_on)
    if found["outcome"] == "cannot tell":
        return f"cannot tell: {_short(kept, runs_on)}"
    return found["outcome"] + (
        f" {format_share(found['gain'], sign='+')}" if found["gain"] is not None else ""
    )


def _short(kept: Kept, runs_on: str) -> str:
    """Why nothing can be told, in a few words; why movers stood still as their policies count it."""
    reason: str = class_of(kept, runs_on)["reason"] or "nothing to gain"
    if "stood still" in reason:
        rows = [row for row in kept["summary"] if row["kind"] == "mover" and row["runs_on"] == runs_on]
        whys = Counter(max(row["held_back"], key=lambda pair: pair[1])[0] for row in rows if row["held_back"])
        return f"stood still ({listed(sorted(whys)) or 'no reason given'})"
    return "the seeds differ" if "the seeds do not tell" in reason else reason


def _oracle(kept: Kept) -> str:
    gains = oracle_gains(kept)
    return format_share(max(gains), 0, "+") if gains else "-"


def _footprints(cells: Sequence[Kept]) -> list[int]:
    return sorted({kept["cell"]["footprint_gib"] for kept in cells})


def _pairs(cells: Sequence[Kept]) -> Iterator[tuple[tuple[str, str, float], dict[int, Kept]]]:
    """The cells that differ in the footprint alone, by it."""

    def same(kept: Kept) -> tuple[str, str, float]:
        cell = kept["cell"]
        return cell["recording"], cell["tiers"], cell["fast_share"]

    for key, members in groupby(cells, key=same):
        yield key, {kept["cell"]["footprint_gib"]: kept for kept in members}
