"""Work dealt over forked processes: each begins with all that this one has in memory, and sends back results only."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from pghot.errors import PghotError
from pghot.kernel.prctl import end_with_parent

WORTH_A_PROCESS_S = 1.0  # of work, beside what each process decodes and loads again
Progress = Callable[[float], None]
Item = TypeVar("Item")
Result = TypeVar("Result")


def dealt(
    items: Sequence[Item],
    workers: int,
    work: Callable[[Sequence[Item], Progress], list[Result]],
    progress: Progress,
) -> list[Result]:
    """`work(items, progress)`, which gives one result for each item, in `workers` processes; results in order of items.

    Neighbours are often alike: each process gets every `workers`-th item. `progress` is called with the share that the
    slowest process has done.

    Raises the `PghotError` that `work` raises, and one when a process ends before its time.
    """
    if workers <= 1 or len(items) <= 1:
        return work(items, progress)
    parts = [items[first::workers] for first in range(min(workers, len(items)))]
    results: list[Result | None] = [None] * len(items)
    with ExitStack() as ends:
        lines = {_begin(work, part, ends): first for first, part in enumerate(parts)}
        done = [0.0] * len(parts)
        while lines:
            for line in wait(list(lines)):
                assert isinstance(line, Connection)
                first = lines[line]
                try:
                    said = line.recv()
                except EOFError:
                    raise PghotError(
                        "a process that replayed its part was killed, perhaps as memory ran out",
                        "give --workers 1: a single process needs less",
                    ) from None
                if isinstance(said, PghotError):
                    raise said
                if isinstance(said, float):
                    done[first] = said
                    progress(min(done))
                else:
                    results[first :: len(parts)] = said
                    del lines[line]
    return [result for result in results if result is not None]


def processes_for(work_s: float, workers: int) -> int:
    """How many processes the work is worth, which takes one of them so long: at most `workers`."""
    return max(1, min(workers, int(work_s / WORTH_A_PROCESS_S)))


def usable_cpus() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0))


def _begin(work: Callable[..., list[Any]], part: Sequence[Any], ends: ExitStack) -> Connection:
    """Fork a process that does its part; returns where it reports."""
    fork = get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=_do, args=(theirs, work, part, os.getpid()), daemon=True)
    with warnings.catch_warnings():
        # Python 3.12 warns that locks of other threads stay locked: they are Arrow's and BLAS's, which see to it.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    theirs.close()
    ends.callback(process.join)
    ends.callback(process.kill)
    return ours


def _do(line: Connection, work: Callable[..., list[Any]], part: Sequence[Any], parent: int) -> None:
    """In the process that was forked. It ends with the one that forked it, which alone reads what it sends."""
    end_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the parent ends the others
    try:
        line.send(work(part, line.send))
    except PghotError as error:
        line.send(error)
