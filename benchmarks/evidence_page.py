"""docs/evidence.md, from the cells that benchmarks/evidence.py keeps: a pure function of them.

Each section answers one question of those who doubt promotion: how often it pays and how much, how much of that is
demotion, a fixed placement or movement, how fast it responds, what it costs, and where it hurts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from statistics import median, quantiles

from kept_cells import (
    CLASSES,
    MATTERS,
    OUTCOMES,
    Kept,
    Row,
    class_of,
    listed,
    movers,
    named,
    named_trace,
    row_of,
    wrapped,
)
from pghot.units import format_share

COMMAND = "python benchmarks/evidence.py"
WORST = 3  # cells of each mover that are named where it hurts


def render(cells: Sequence[Kept], total: int) -> str:
    """The page.

    total  cells of the whole matrix: those that were not computed are left out, and that is said
    """
    if not cells:
        return f"# Evidence\n\nNo cell was computed: run `{COMMAND}`.\n"
    sections = (
        _head(cells, total),
        _pays(cells),
        _parts(cells),
        _responds(cells),
        _costs(cells),
        _hurts(cells),
        _again(cells, total),
    )
    lines = [line for section in sections for line in (*section, "")]
    return "\n".join(map(wrapped, lines[:-1])) + "\n"


def _head(cells: Sequence[Kept], total: int) -> Iterator[str]:
    settings, sources = cells[0]["settings"], sorted({kept["source"] for kept in cells})
    yield "# Evidence"
    yield ""
    yield (
        f"Which programs gain from moving pages, by how much, and when does it hurt? Written by `{COMMAND}`. "
        "**All figures are simulated:** recordings of real programs, and synthetic workloads, on simulated tiers, "
        "under the rules of [model.md](model.md). How far to trust these is told by [validation.md](validation.md) and "
        "[invariance.md](invariance.md). The cells one by one are in [outcomes.md](outcomes.md)."
    )
    yield ""
    yield (
        f"* {len(cells)} of {total} cells, {_seeds(settings['seeds'])}, {settings['duration_s']:g} s of the real "
        f"system; computed with the code {listed(sources)}."
    )
    for key, what in (("recording", "recordings and workloads"), ("tiers", "tiers")):
        yield f"* {what}: {listed(_values(cells, key))}."
    shares, footprints = map(_percent, _values(cells, "fast_share")), _values(cells, "footprint_gib")
    yield f"* Shares of the footprint in fast memory: {listed(list(shares))}."
    yield f"* Footprints of the real system that a recording stands for: {listed(footprints)} GiB."
    yield f"* Movers in each cell: {listed(movers(cells[0]))}."
    yield (
        "* Gains are over `none`: pages stay where they are first touched. A gain or a loss counts from "
        f"{_percent(MATTERS)} on. Where a cell has an interval, it is the 95 % interval over its seeds; "
        "[a, b] are the quartiles over cells."
    )


def _seeds(count: int) -> str:
    return "1 seed each, which gives no interval" if count == 1 else f"{count} seeds each"


def _values(cells: Sequence[Kept], key: str) -> list[str]:
    return [str(value) for value in sorted({kept["cell"][key] for kept in cells})]


def _those(cells: Sequence[Kept], **wanted: object) -> list[Kept]:
    """The cells that have these values."""
    return [kept for kept in cells if all(kept["cell"][key] == value for key, value in wanted.items())]


def _percent(value: object) -> str:
    return f"{100 * float(str(value)):g} %"


def _pays(cells: Sequence[Kept]) -> Iterator[str]:
    """Outcomes and the gain of the best mover, for each tiers and share."""
    yield "## Does it pay?"
    yield ""
    yield (
        "How many cells of each outcome, and the gain of the best mover of the class: median and quartiles over "
        "the cells that have one. The best of several is chosen after the fact, so it flatters a little."
    )
    yield ""
    yield f"| tiers | fast share | class | {' | '.join(OUTCOMES)} | gain of the best |"
    yield "|---|--:|---|" + "--:|" * len(OUTCOMES) + "---|"
    places = sorted({(kept["cell"]["tiers"], kept["cell"]["fast_share"]) for kept in cells})
    for tiers, share in places:
        here = _those(cells, tiers=tiers, fast_share=share)
        for runs_on, title in CLASSES.items():
            found = [class_of(kept, runs_on) for kept in here]
            counts = Counter(each["outcome"] for each in found)
            gains = [each["gain"] for each in found if each["gain"] is not None]
            numbers = " | ".join(str(counts[outcome]) for outcome in OUTCOMES)
            yield f"| {tiers} | {_percent(share)} | {title} | {numbers} | {_spread(gains, _gain)} |"


def _parts(cells: Sequence[Kept]) -> Iterator[str]:
    """What demotion, a fixed placement and movement bring, for each recording and tiers."""
    yield "## How much of it is demotion, fixed placement, movement?"
    yield ""
    yield (
        "Medians over shares and footprints. *All fast* is the ceiling. *Demotion alone* frees fast memory and "
        "promotes nothing. *Fixed* is the best placement that never changes (`oracle-static`, which knows the "
        "future), *movement* what `oracle-epoch` gains over it by moving each second. *Best of today* is the best "
        "mover of a released kernel, alone or with pghot in user space; *reached* is its part of the better oracle's "
        "gain, where that counts."
    )
    yield ""
    yield "| recording | tiers | all fast | demotion alone | fixed | movement | best of today | reached |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|"
    for recording in _values(cells, "recording"):
        for tiers in _values(cells, "tiers"):
            here = _those(cells, recording=recording, tiers=tiers)
            if here:
                figures = [
                    *(_middle(here, label) for label in ("all-fast", "demotion", "oracle-static")),
                    _median(_movement(here), _gain),
                    _median(_today(here), _gain),
                    _median(_reached(here), _percent_of),
                ]
                yield f"| {recording} | {tiers} | {' | '.join(figures)} |"


def _middle(cells: Sequence[Kept], label: str) -> str:
    return _median([row["speedup"] - 1 for row in _rows(cells, label) if row["speedup"]], _gain)


def _rows(cells: Sequence[Kept], label: str) -> list[Row]:
    found = [row_of(kept, label) for kept in cells]
    return [row for row in found if row is not None]


def _movement(cells: Sequence[Kept]) -> list[float]:
    """Of each cell: the gain of the oracle that moves over the one that does not."""
    both = zip(_rows(cells, "oracle-epoch"), _rows(cells, "oracle-static"), strict=True)
    return [
        moves["speedup"] / stays["speedup"] - 1
        for moves, stays in both
        if moves["speedup"] and stays["speedup"]
    ]


def _best_today(kept: Kept) -> float | None:
    gains = [class_of(kept, runs_on)["gain"] for runs_on in ("kernel", "user space")]
    return max((gain for gain in gains if gain is not None), default=None)


def _today(cells: Sequence[Kept]) -> list[float]:
    return [gain for kept in cells if (gain := _best_today(kept)) is not None]


def _reached(cells: Sequence[Kept]) -> list[float]:
    """Of each cell whose better oracle has a gain that counts: the part of it that the best of today has."""
    found = []
    for kept in cells:
        oracles = [
            row["speedup"] - 1 for row in kept["summary"] if row["kind"] == "oracle" and row["speedup"]
        ]
        best = _best_today(kept)
        if oracles and max(oracles) > MATTERS and best is not None:
            found.append(best / max(oracles))
    return found


def _responds(cells: Sequence[Kept]) -> Iterator[str]:
    """Each mover: how many of the pages that turn hot it promotes while they are hot, and how soon."""
    yield "## How fast does it respond?"
    yield ""
    yield (
        "A page turns hot when it enters the hot set of an epoch (a second or more) while it is below the fast tier. "
        "*Answered* is the share of these that were promoted while hot, over all cells; *wait* is the median wait of "
        "the cells in which at least half were."
    )
    yield ""
    yield "| mover | answered | cells with at least half answered | wait there, s |"
    yield "|---|---|--:|---|"
    for label in _labels(cells):
        rows = _rows(cells, label)
        answered = [row["responded_share"] for row in rows if row["responded_share"] is not None]
        waits = [row["response_p50_ms"] / 1e3 for row in rows if row["response_p50_ms"] is not None]
        soon = f"{len(waits)} of {len(rows)} | {_spread(waits, _short)}"
        yield f"| `{label}` | {_spread(answered, _percent_of)} | {soon} |"


def _labels(cells: Sequence[Kept]) -> list[str]:
    return [label.strip("`") for label in movers(cells[0])]


def _costs(cells: Sequence[Kept]) -> Iterator[str]:
    """Each mover: metadata and time against what it knows for them."""
    yield "## What does it cost, and how well does it know?"
    yield ""
    yield (
        "Metadata in bytes a page of the program. Time of the program that tracking and moving take, and time of "
        "kernel threads or of pghot, as a share of the run's; 100 % is one busy CPU. *Accurate* is the share of "
        "promotions whose page is hot in that epoch or the next, *coverage* the share of the hot set that is in fast "
        "memory at the end of an epoch. Medians and quartiles over cells."
    )
    yield ""
    yield "| mover | bytes a page | tracking | moving | threads | accurate | coverage |"
    yield "|---|--:|---|---|---|---|---|"
    figures = (
        ("tracking_app_share", _percent_of),
        ("moving_app_share", _percent_of),
        ("kernel_share", _percent_of),
        ("accuracy", _percent_of),
        ("coverage", _percent_of),
    )
    for label in _labels(cells):
        rows = _rows(cells, label)
        size = _median([row["tracker_bytes_per_page"] for row in rows], _short)
        texts = [_spread([row[key] for row in rows if row[key] is not None], shown) for key, shown in figures]
        yield f"| `{label}` | {size} | {' | '.join(texts)} |"


def _hurts(cells: Sequence[Kept]) -> Iterator[str]:
    """Each mover: in how many cells it loses more than counts, on what it spends the time, and the worst cells."""
    yield "## Where does it hurt?"
    yield ""
    yield (
        f"Cells in which a mover loses more than {_percent(MATTERS)} and the whole interval over the seeds is a loss. "
        "*Its own time* is what tracking and moving take from the program there; what it loses beyond that, it loses "
        "by what it moved."
    )
    yield ""
    yield "| mover | hurts in | median loss there | its own time there | the worst |"
    yield "|---|--:|--:|--:|---|"
    for label in _labels(cells):
        lost = sorted((row["speedup"] - 1, named(kept), row) for kept, row in _losses(cells, label))
        count = f"{len(lost)} of {len(_rows(cells, label))}"
        if not lost:
            yield f"| `{label}` | {count} | - | - | - |"
            continue
        own = [row["tracking_app_share"] + row["moving_app_share"] for _, _, row in lost]
        worst = listed([f"{name} {_gain(loss)}" for loss, name, _ in lost[:WORST]])
        middle = _median([loss for loss, _, _ in lost], _gain)
        yield f"| `{label}` | {count} | {middle} | {_median(own, _percent_of)} | {worst} |"


def _losses(cells: Sequence[Kept], label: str) -> Iterator[tuple[Kept, Row]]:
    for kept in cells:
        row = row_of(kept, label)
        if row is not None and row["speedup"] is not None:
            interval = row["speedup_ci95"] or 0.0
            if row["speedup"] < 1 - MATTERS and row["speedup"] + interval < 1:
                yield kept, row


def _again(cells: Sequence[Kept], total: int) -> Iterator[str]:
    """How a sceptic makes it again, and what is not in it."""
    kept = cells[0]
    cell, settings = kept["cell"], kept["settings"]
    sources = sorted({source for row in kept["summary"] for source in row["sources"]})
    policies = dict.fromkeys(
        row["policy"] for row in kept["summary"] if row["policy"] not in ("none", "all-fast")
    )
    yield "## Again, and doubts"
    yield ""
    hours = total * median(kept["cpu_s"] for kept in cells) / 3600
    yield (
        f"All cells: `{COMMAND}`. It goes on where it stopped; {total} cells are some {hours:.1f} hours of a CPU, by "
        "the median of those that were computed. One cell, here with each source for each mover:"
    )
    yield ""
    share = _percent(cell["fast_share"]).replace(" ", "")
    yield "```sh"
    yield f"pghot compare {named_trace(cell['recording'])} --tiers {cell['tiers']} --fast-share {share} \\"
    yield f"  --stands-for {cell['footprint_gib']}GiB --duration {settings['duration_s']:g}s \\"
    yield f"  --seeds {settings['seeds']} --policies {','.join(policies)} \\"
    yield f"  --sources {','.join(sources)}"
    yield "```"
    yield ""
    yield "* Each recording is of one program of tens to hundreds of MiB; [similarity](model.md) makes it larger."
    yield "* The programs' own first touches decide what is fast without a mover. Another order gives other gains."
    yield from _still_oracle(cells)
    yield "* Policies have their published defaults. Tuned ones would do better, each on its own recording."
    yield (
        "* The device's unit (`chmu`) is simulated as free and exact but for its list; no released kernel drives it."
    )


def _still_oracle(cells: Sequence[Kept]) -> Iterator[str]:
    """In how many cells no move repaid: a hot set that changes need not, if all of it fits."""
    rows = [row_of(kept, "oracle-epoch") for kept in cells]
    still = sum(row is not None and not row["promotions"] for row in rows)
    if still:
        yield f"* `oracle-epoch` promoted nothing in {still} of {len(cells)} cells: no move repaid there."


def _gain(value: float) -> str:
    return format_share(value, sign="+")


def _percent_of(value: float) -> str:
    return f"{100 * value:.3g} %"


def _short(value: float) -> str:
    return f"{value:.3g}"


def _median(values: Sequence[float], shown: Callable[[float], str]) -> str:
    return shown(median(values)) if values else "-"


def _spread(values: Sequence[float], shown: Callable[[float], str]) -> str:
    """Median and quartiles."""
    if len(values) < 2:
        return _median(values, shown)
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return f"{shown(middle)} [{shown(low)}, {shown(high)}]"
