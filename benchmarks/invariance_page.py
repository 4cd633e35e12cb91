"""The page that benchmarks/invariance.py writes: a pure function of the kept comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from pghot.units import format_share

Kept = dict[str, Any]  # a comparison as it is kept: part, label, tiers, settings, date, footprint_bytes, rows

MIB = 1 << 20
SPEEDUP_BARS = {
    "K": 0.02,
    "K, a tier that compresses": 0.02,
    "slices of a replay": 0.05,
    "slices of a recording": 0.03,
}
RECORDING_BAR = 0.03  # beyond the spread over the seeds
BYTES_BARS = {"K": 0.05, "K, a tier that compresses": 0.05}
COARSE_BYTES_BAR = 0.15  # of what counts units of 2 MiB: one more or less is much
BYTES_FLOOR = 0.01  # of the footprint: less says nothing


def render(kept: Sequence[Kept]) -> str:
    """The page; parts that were not computed are left out."""
    lines = [
        "# What the answers do not depend on",
        "",
        "Written by `python benchmarks/invariance.py`. **All figures are simulated.** A real system is held, and what",
        "stands for it changes: how many real pages a page stands for (K), or how time is cut into slices. The first",
        "column has the speed-up over `none` and the GiB moved, the others by how much theirs differ. **Bold** is",
        "beyond the bar. What PEBS samples is a matter of chance: of single seeds HeMem, which moves few units of 2",
        "MiB, has speed-ups 1 % apart. So its rows are means over several.",
    ]
    parts = [(name, list(cells)) for name, cells in groupby(kept, key=lambda cell: str(cell["part"]))]
    found = [_part(name, cells) for name, cells in parts]
    beyond, total = (sum(part[index] for part in found) for index in (1, 2))
    lines += ["", f"{total} differences, of which {beyond} are beyond their bar."]
    for part, _, _ in found:
        lines += ["", *part]
    return "\n".join(lines) + "\n"


def _part(name: str, cells: Sequence[Kept]) -> tuple[list[str], int, int]:
    """The lines of a part, how many of its differences are beyond the bar, and how many there are."""
    first, others = cells[0], cells[1:]
    rows, beyond, total = [], 0, 0
    for label, row in first["rows"].items():
        texts = [f"{_mean(row['speedups']):.3f}, {row['moved_mb'] * 1e6 / 2**30:.2f}"]
        for other in others:
            text, far = _difference(name, label, first, other)
            beyond, total = beyond + far, total + 1
            texts.append(f"**{text}**" if far else text)
        rows.append(f"| {label} | {' | '.join(texts)} |")
    lines = [
        f"## {name[0].upper() + name[1:]}",
        "",
        *_about(name, first),
        "",
        f"| run | {' | '.join(str(cell['label']) for cell in cells)} |",
        "|---|" + "--:|" * len(cells),
        *rows,
    ]
    return lines, beyond, total


def _about(name: str, first: Kept) -> Iterator[str]:
    settings = first["settings"]
    yield (
        f"{first['footprint_bytes'] / MIB:,.0f} MiB on `{first['tiers']}`, fast share {settings['fast_share']:.0%}, "
        f"{settings['threads']} threads, {settings['duration_s']:g} s, {settings['seeds']} seed(s)"
        f"{_of_samples(first)}, placement {settings['placement']}.\nComputed {first['date']}."
    )
    bar = SPEEDUP_BARS.get(name)
    if bar is None:
        yield f"Bar: {RECORDING_BAR:.0%} of the speed-up beyond the spread over the seeds of either."
    elif name in BYTES_BARS:
        yield (
            f"Bars: {bar:.0%} of the speed-up; {BYTES_BARS[name]:.0%} of the bytes, {COARSE_BYTES_BAR:.0%} for HeMem, "
            f"where more than {BYTES_FLOOR:.0%} of the footprint moves."
        )
    else:
        yield f"Bar: {bar:.0%} of the speed-up."


def _of_samples(first: Kept) -> str:
    seeds = max((len(row["speedups"]) for label, row in first["rows"].items() if "pebs" in label), default=0)
    return f" (up to {seeds} with PEBS)" if seeds > first["settings"]["seeds"] else ""


def _difference(name: str, label: str, first: Kept, other: Kept) -> tuple[str, bool]:
    """How much a run differs, in words, and whether that is beyond the bars of the part."""
    if label not in other["rows"]:
        return "no speed-up", True
    one, two = first["rows"][label], other["rows"][label]
    by = _mean(two["speedups"]) / _mean(one["speedups"]) - 1
    bar = SPEEDUP_BARS.get(name, RECORDING_BAR + _spread(one["speedups"]) + _spread(two["speedups"]))
    far = abs(by) > bar
    text = format_share(by, sign="+")
    if name not in BYTES_BARS:
        return text, far
    floor_mb = BYTES_FLOOR * first["footprint_bytes"] / 1e6
    moved = two["moved_mb"] - one["moved_mb"]
    bytes_bar = COARSE_BYTES_BAR if label.startswith("hemem") else BYTES_BARS[name]
    far = far or abs(moved) > max(floor_mb, bytes_bar * one["moved_mb"])
    share = moved / one["moved_mb"] if one["moved_mb"] else 0.0
    return f"{text}, {format_share(share, sign='+')}", far


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _spread(values: Sequence[float]) -> float:
    """Half of how far they are apart, as a share of their mean."""
    return (max(values) - min(values)) / 2 / _mean(values)
