"""Workload files and masim configurations. What is accepted makes slices that keep the rules of a recording."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

from builders.damage import damaged_bytes
from builders.toml_kind import damaged_file, parsed, refusals_name, same_numbers
from fuzz.harness import Silent
from pghot.documents import shipped_names, shipped_text
from pghot.lab.workloads.workload_files import make_workload
from pghot.recording.checks import check_batch
from pghot.recording.header import info_from_facts, info_to_facts

NAME = "toml_workload"
QUICK = 100

_MASIM = """\
# two regions, two phases
hot, 4096000
cold, 40960000

first
1000
hot, 1, 64, 90, rw
cold, 0, 4096, 10, ro

second
500
cold, 1, 64, 100
"""


@dataclass(frozen=True, slots=True)
class Made:
    """A damaged file; `spec` is what commands are given."""

    path: Path
    spec: str


@cache
def texts() -> tuple[str, ...]:
    """The shipped files."""
    return tuple(shipped_text("workloads", name) for name in shipped_names("workloads"))


def make(rng: random.Random, folder: Path) -> Made:
    """A damaged file of either sort."""
    if rng.randrange(4):
        path = damaged_file(rng, folder, texts())
        return Made(path, f"workload:{path}")
    path = folder / "a.masim"
    lines = _MASIM.splitlines()
    if rng.randrange(2):
        at = rng.randrange(len(lines))
        words = lines[at].split(",")
        words[rng.randrange(len(words))] = rng.choice(
            ("0", "-1", "1" * 30, "1" * 5000, "", "²", "x", "1.5", "inf")
        )
        lines[at] = ",".join(words)
    content = "\n".join(lines).encode()
    path.write_bytes(content if rng.randrange(2) else damaged_bytes(rng, content, most=2))
    return Made(path, f"masim:{path}")


def check(made: Made) -> str:
    """Make the workload and, where that is soon done, its first slices. Too large for the memory is a refusal."""
    with refusals_name(made.path.name):
        try:
            trace = make_workload(made.spec)
        except MemoryError:  # the command says so in one line
            return "refused"
    info = trace.info
    if info_from_facts(info_to_facts(info)) != info:
        raise Silent("a header that a recording would not keep")
    if made.spec.startswith("workload:"):
        given = parsed(made.path)
        same_numbers(
            {
                name: given[name]
                for name in ("threads", "nodes", "page_bytes", "ns_per_instruction")
                if name in given
            },
            {name: getattr(info, name) for name in ("threads", "nodes", "page_bytes", "ns_per_instruction")},
        )
        if int(given.get("accesses_per_slice", 0)) > 1 << 20:  # 1000 may be written as a text
            return "accepted"
    if trace.pages > 1 << 17:
        return "accepted"
    before = -1
    for batch in islice(trace.batches(), 1):
        check_batch(batch, trace.pages, info.nodes)
        if int(batch.start_ns[0]) <= before:
            raise Silent("slices that do not ascend in time")
        before = int(batch.start_ns[-1])
    return "accepted"


for name in shipped_names("workloads"):  # loads what they need
    next(iter(make_workload(name, footprint="4 MiB").batches())) if name in (
        "uniform",
        "sequential",
    ) else None
