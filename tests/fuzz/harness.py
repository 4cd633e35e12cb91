"""Gives a kind of input to pghot, one input for each seed, and counts what became of them.

A *kind* is one file beside this one. It has

    NAME                what `run.py` calls it
    make(rng, folder)   a valid input, built as pghot itself would, then damaged knowingly; files go into `folder`
    check(made)         gives it to pghot and says what came of it: "accepted", "refused" or "unverified"
    QUICK               optional: so many inputs in `make test`, where `QUICK_INPUTS` would take too long

`check` lets a `PghotError` through, which is a refusal. It raises `Silent` when what pghot accepted is not what went
in and nothing says so. Any other exception is a defect.

Inputs run in children, some hundreds in each, with limits on memory and time. So an input that kills or hangs its
process costs no other. A kind should load what it needs (kernels above all) when it is imported: children inherit it.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import random
import resource
import shutil
import signal
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

from pghot.errors import PghotError

HERE = Path(__file__).parent
BATCH = 300
QUICK_INPUTS = 200
# For one input. Time of the processor, because a busy machine makes any input slow; and a long time by the clock, for
# an input that waits for what never comes.
CPU_S = 20
CLOCK_S = 300
ROOM_BYTES = 1 << 30

OUTCOMES = ("accepted", "unverified", "refused")
DEFECTS = ("traceback", "silent", "unhelpful", "hang", "died")


class Silent(Exception):  # noqa: N818
    """pghot accepted an input as something that it is not, and said nothing."""


class Kind(Protocol):
    """What a file of a kind has; see above."""

    NAME: str

    def make(self, rng: random.Random, folder: Path) -> Any: ...

    def check(self, made: Any) -> str: ...


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one input: one of `OUTCOMES` or `DEFECTS`, and what there is to say of a defect.

    peak_bytes  the most memory that the child had so far
    """

    seed: int
    outcome: str
    text: str = ""
    peak_bytes: int = 0


@dataclass(slots=True)
class Totals:
    """What became of the inputs of one kind.

    peak_bytes  the most memory of a child; it was reached with the input `peak_seed`
    """

    counts: Counter[str] = field(default_factory=Counter)
    defects: list[Result] = field(default_factory=list)
    peak_bytes: int = 0
    peak_seed: int = 0

    @property
    def inputs(self) -> int:
        return self.counts.total()

    def add(self, result: Result) -> None:
        self.counts[result.outcome] += 1
        if result.outcome in DEFECTS:
            self.defects.append(result)
        if result.peak_bytes > self.peak_bytes:
            self.peak_bytes, self.peak_seed = result.peak_bytes, result.seed


def kinds() -> dict[str, Kind]:
    """Every kind by its name."""
    files = sorted(path.stem for path in HERE.glob("*.py"))
    names = [name for name in files if name not in ("harness", "run") and not name.startswith("test_")]
    found = [importlib.import_module(f"fuzz.{name}") for name in names]
    return {kind.NAME: kind for kind in found}


def quick_inputs(kind: Kind) -> int:
    """How many inputs of a kind `make test` runs."""
    return getattr(kind, "QUICK", QUICK_INPUTS)


def run(kind: Kind, seeds: Sequence[int], cpu_s: float = CPU_S, clock_s: float = CLOCK_S) -> Iterator[Result]:
    """What becomes of the inputs with these seeds, in their order."""
    at = 0
    while at < len(seeds):
        for result in _in_child(kind, seeds[at : at + BATCH], cpu_s, clock_s):
            yield result
            at += 1


def one(kind: Kind, seed: int, folder: Path) -> Result:
    """Make and check one input, here and now."""
    rng = random.Random(f"{kind.NAME} {seed}")
    try:
        made = kind.make(rng, folder)
    except Exception:
        return Result(seed, "traceback", "the input cannot be made:\n" + traceback.format_exc())
    try:
        outcome = kind.check(made)
    except PghotError as error:
        line = str(error)
        if not line or "\n" in line or not error.hint:
            return Result(seed, "unhelpful", f"not one line with a remedy: {line!r}, {error.hint!r}")
        return Result(seed, "refused", line)
    except Silent as difference:
        return Result(seed, "silent", str(difference))
    except Exception:
        return Result(seed, "traceback", traceback.format_exc())
    if outcome not in OUTCOMES:
        return Result(seed, "traceback", f"the kind's check says {outcome!r}, none of {OUTCOMES}")
    return Result(seed, outcome)


def _in_child(kind: Kind, seeds: Sequence[int], cpu_s: float, clock_s: float) -> Iterator[Result]:
    """The results of a child; of one that ended early, those up to the input that ended it."""
    with tempfile.TemporaryDirectory(prefix="fuzz") as name:
        place = Path(name)
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(read)
            _child(kind, seeds, place, write, cpu_s, clock_s)
        os.close(write)
        done = 0
        try:
            with os.fdopen(read) as lines:
                for line in lines:
                    yield Result(**json.loads(line))
                    done += 1
        finally:
            if done < len(seeds):  # it is dead already, or nobody wants to know more
                os.kill(pid, signal.SIGKILL)
            _, status, usage = os.wait4(pid, 0)
        if done < len(seeds):
            yield Result(seeds[done], *_end(status, place), usage.ru_maxrss << 10)


def _end(status: int, place: Path) -> tuple[str, str]:
    said = (place / "said").read_text(errors="replace")[:6000]
    number = os.waitstatus_to_exitcode(status)
    if -number in (signal.SIGPROF, signal.SIGALRM):
        return "hang", f"it did not come to an end; it was here:\n{said}"
    return "died", f"the process ended with {number} (a signal, when negative)\n{said}"


def _child(kind: Kind, seeds: Sequence[int], place: Path, write: int, cpu_s: float, clock_s: float) -> None:
    """Never returns: what the parent is in the middle of must not be done twice."""
    try:
        with open(place / "said", "a") as said, os.fdopen(write, "w") as results:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            _limit_memory()
            faulthandler.enable(said)
            for number in (signal.SIGPROF, signal.SIGALRM):
                signal.signal(number, signal.SIG_DFL)
                faulthandler.register(number, file=said, chain=True)
            for seed in seeds:
                said.truncate(0)  # of the input that ends the process, only what it said itself
                signal.setitimer(signal.ITIMER_PROF, cpu_s)
                signal.setitimer(signal.ITIMER_REAL, clock_s)
                _report(kind, seed, place, results)
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _report(kind: Kind, seed: int, place: Path, results: TextIO) -> None:
    folder = place / str(seed)
    folder.mkdir()
    result = one(kind, seed, folder)
    shutil.rmtree(folder, ignore_errors=True)
    text = result.text if result.outcome in DEFECTS else ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    results.write(
        json.dumps({"seed": seed, "outcome": result.outcome, "text": text, "peak_bytes": peak}) + "\n"
    )
    results.flush()


def _limit_memory() -> None:
    """`ROOM_BYTES` more than the process has mapped now."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + ROOM_BYTES, hard))
