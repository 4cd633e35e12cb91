"""`pghot run`: one run of the live loop over named programs, from start to its summary."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pghot.errors import CutShortError, NotPermittedError, UsageError
from pghot.kernel.sysroot import SysRoot
from pghot.live.decision_log.kept import logged
from pghot.live.journal import SUFFIX, Journal
from pghot.live.live_settings import LiveSettings
from pghot.live.loop import Live
from pghot.live.owner import changes_machine, owned
from pghot.live.runtime_place import runtime_place
from pghot.live.status import status
from pghot.live.status_facts import StatusFacts
from pghot.live.stopping import StopSignals
from pghot.live.undo import undo_open
from pghot.policies.live_rules import INTERVAL_MS
from pghot.trusted import private_directory

Say = Callable[[Live], None]


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What `pghot run` was told in addition to `LiveSettings`.

    interval_ms  between two rounds
    duration_s   0: until the programs end
    journal      None: a file of its own under /run/pghot
    restore      put the pages back at the end, too
    log          a new file for the decisions, see `pghot.decision_log`; None: none is kept
    force        it may replace what has the name
    """

    interval_ms: int = INTERVAL_MS
    duration_s: float = 0.0
    journal: Path | None = None
    restore: bool = False
    log: Path | None = None
    force: bool = False


@dataclass(slots=True)
class Summary:
    """What a run did; `facts` is the JSON of `pghot run --json`.

    restored  everything that `--restore` should put back was put back
    """

    facts: StatusFacts
    problems: list[str]
    interrupted: bool
    restored: bool = True


def start_command(
    command: Sequence[str], stdout: int | None = None, held: BinaryIO | None = None
) -> subprocess.Popen[bytes]:
    """Start the program, its output going to the descriptor `stdout` (None: where ours goes).

    held  a file for everything that it prints, errors included, when a screen has the terminal; it gets no input then

    Raises `UsageError` when there is none of that name.
    """
    try:
        if held is not None:
            return subprocess.Popen(list(command), stdin=subprocess.DEVNULL, stdout=held, stderr=held)
        return subprocess.Popen(list(command), stdout=stdout)
    except FileNotFoundError:
        raise UsageError(f"no program '{command[0]}'", "check its name and PATH") from None
    except PermissionError:
        raise NotPermittedError(
            f"'{command[0]}' may not be executed", "name a program, or make it executable with chmod +x"
        ) from None
    except OSError as error:
        raise UsageError(
            f"cannot start '{command[0]}': {error.strerror}", "name a program that runs without pghot"
        ) from None


def journal_path(chosen: Path | None, name: str) -> Path:
    """The path of a journal. Raises `UsageError` when somebody else could change what is in the default place."""
    place = runtime_place(SysRoot())
    if chosen is None:
        _refuse_shared(place)
    return chosen or place / f"{name}-{os.getpid()}{SUFFIX}"


def _refuse_shared(place: Path) -> None:
    """Whoever may write to the directory of a journal can remove the journal, and then nothing could be undone."""
    try:
        reason = private_directory(place, 0o755)
    except OSError:
        return  # making the journal will say why it fails
    if reason:
        raise UsageError(f"no place for a journal: {reason}", "name a file elsewhere: --journal FILE")


def run_live(
    root: SysRoot, settings: LiveSettings, run: RunSettings, say: Say, stop: StopSignals | None = None
) -> Summary:
    """Track until the programs end, the time is over or the user interrupts.

    stop  signals that the caller already handles; None: handle them while running

    Raises `PghotError` when a source, a mover or the journal fails. Knobs are put back in any case.
    """
    settings.targets.check(root)
    with (
        owned(root, changes_machine(settings)),
        Journal(journal_path(run.journal, "run"), root) as journal,
    ):
        live = Live(root, settings, journal)
        left_out: list[str] = []
        with (
            contextlib.nullcontext(stop) if stop else StopSignals() as asked,
            logged(live, run.log, run.force, left_out),
        ):
            try:
                live.start()
                rounds(live, run, say, asked)
            finally:
                problems = end(live, journal)
        problems += left_out
        summary = Summary(status(live, "pghot.run/1"), problems, asked.signalled)
        if run.restore:
            restore(summary, journal, root)
        return summary


def restore(summary: Summary, journal: Journal, root: SysRoot) -> None:
    """Put the pages back, and say so in the summary. A journal with nothing left to undo is removed."""
    undone = undo_open(journal, root)
    summary.facts["undone"] = undone.facts()
    summary.problems += undone.problems
    summary.restored = undone.complete
    if undone.complete:
        journal.discard()
        summary.facts["journal"] = None


def end(live: Live, journal: Journal) -> list[str]:
    """Stop; returns what could not be put back, in words. A journal with nothing left to undo is removed.

    Raises `CutShortError` when a signal comes meanwhile.
    """
    try:
        problems = live.stop()
    except KeyboardInterrupt:
        raise CutShortError(
            "interrupted before everything was put back", f"pghot undo {journal.path}"
        ) from None
    if not problems and not live.settings.apply:
        journal.discard()
    return problems


def rounds(live: Live, run: RunSettings, say: Say, stop: StopSignals) -> None:
    """Tick in even steps until the programs end, the time is over or a signal asks to stop.

    A round that took longer than a step is followed by the next at once.
    """
    next_s = time.monotonic()
    while not live.over and not stop.asked and not (run.duration_s and live.seconds >= run.duration_s):
        next_s = max(next_s + run.interval_ms / 1000, time.monotonic())
        stop.sleep(max(0.0, next_s - time.monotonic()))
        live.tick()
        say(live)
