"""What the pages that benchmarks/evidence.py writes say of a cell, the same in each."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

MATTERS = 0.02  # as in `pghot.lab.sound_runs`: a smaller difference counts as none
OUTCOMES = ("pays", "cannot tell", "does not pay", "hurts")
CLASSES = {"kernel": "the kernel alone", "user space": "pghot in user space", "to come": "hardware to come"}

Kept = dict[str, Any]  # a cell as it is kept: cell, settings, source, seconds, setup, summary, verdict
Row = dict[str, Any]  # of the summary: a run over all seeds


def wrapped(line: str) -> str:
    """A line of the page, at most 120 columns wide unless it is a table's."""
    indent = "  " if line.startswith("* ") else ""
    return line if line.startswith("|") else fill(line, 120, subsequent_indent=indent, break_on_hyphens=False)


def movers(kept: Kept) -> list[str]:
    return [f"`{row['label']}`" for row in kept["summary"] if row["kind"] == "mover"]


def listed(words: Sequence[str]) -> str:
    return ", ".join(words)


def times(count: int) -> str:
    return {0: "Never", 1: "Once"}.get(count, f"{count} times")


def named(kept: Kept) -> str:
    cell = kept["cell"]
    return f"{cell['recording']} {cell['tiers']} {100 * cell['fast_share']:g} % {cell['footprint_gib']} GiB"


def named_trace(recording: str) -> str:
    """How `pghot compare` takes it."""
    return recording if ":" in recording else f"bundled:{recording}"


def class_of(kept: Kept, runs_on: str) -> dict[str, Any]:
    return next(each for each in kept["verdict"]["classes"] if each["runs_on"] == runs_on)


def oracle_gains(kept: Kept) -> list[float]:
    return [row["speedup"] - 1 for row in kept["summary"] if row["kind"] == "oracle" and row["speedup"]]


def row_of(kept: Kept, label: str) -> Row | None:
    """The run with this label, where it was compared."""
    return next((row for row in kept["summary"] if row["label"] == label), None)
