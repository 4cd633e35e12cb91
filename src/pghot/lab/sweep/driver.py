"""Cells computed by the workers of a Dask cluster, on this machine or elsewhere: one way for both.

The workers compute, and hand tables back. Only this process writes, so workers need no access to the folder, and a cell
that was computed twice, as its worker died before it could hand it over, is kept once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pghot.errors import PghotError, UsageError
from pghot.lab.sweep.cell import Cell
from pghot.lab.sweep.sweep_folder import cell_table

CONNECT_S = 4.0
WORKER_S = 4.0
TICK_S = 1.0
_AHEAD = 2  # cells handed over for each thread: one to compute, one that is there when it is done

# What Dask does in a worker beside its task, many times a second: each time the task must hand over Python's lock, and
# on a busy machine it waits long until it has it again. A cell takes seconds.
SELDOM = {
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "1s",
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.limit": "60s",
    "distributed.admin.system-monitor.interval": "10s",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell that could not be computed, and why."""

    cell: Cell
    reason: str


def compute(cell: Cell) -> pa.Table | str:
    """What a worker does: the cell's table, or in words why there is none."""
    try:
        return cell_table(cell, cell.compute())
    except PghotError as error:
        return f"{error}; {error.hint}" if error.hint else str(error)
    except Exception as error:  # one cell's fault must not end the others
        return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def local_client(workers: int) -> Iterator[Any]:
    """A client of a new cluster of `workers` processes on this machine, which ends with the context.

    A scheduler runs what it is sent, and everyone on this machine can connect to it: so it talks TLS, with a key that
    only these processes have.
    """
    import dask
    from distributed import Client, LocalCluster
    from distributed.security import Security

    from pghot.lab.sweep.own_workers import OwnWorker

    with (
        dask.config.set(SELDOM),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",  # none given, its HTTP server takes a fixed port
            silence_logs=logging.CRITICAL,
            security=Security.temporary(),
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(OwnWorker())
        yield client


@contextlib.contextmanager
def client_at(address: str) -> Iterator[Any]:
    """A client of the cluster at this address. Raises `UsageError` within ten seconds when none answers."""
    from distributed import Client
    from distributed.comm.core import connect
    from distributed.security import Security
    from distributed.utils import silence_logging_cmgr

    remedy = "start `dask scheduler`, or correct the address (--cluster tcp://HOST:8786)"

    async def knock() -> None:
        given = Security().get_connection_args("client")  # certificates, of the user's configuration of Dask
        await (await connect(address, timeout=CONNECT_S, **given)).close()

    try:
        # A client that cannot connect would complain once more when it is collected.
        asyncio.run(knock())
    except (OSError, ValueError) as error:
        raise UsageError(f"no cluster at {address}: {error}", remedy) from None
    with (
        silence_logging_cmgr(logging.CRITICAL),  # what matters of it is an error of ours
        Client(address, timeout=CONNECT_S) as client,
    ):
        try:
            client.wait_for_workers(1, timeout=WORKER_S)
        except TimeoutError:
            raise UsageError(
                f"the cluster at {address} has no workers", f"start some: dask worker {address}"
            ) from None
        yield client


def run_cells(
    client: Any,
    cells: Sequence[Cell],
    keep: Callable[[Cell, pa.Table], None],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Failure]:
    """Compute the cells, and hand each to `keep` as soon as it is there. Returns those that failed.

    Raises what `keep` raises, and `PghotError` when the cluster is gone.
    """
    from distributed.comm.core import CommClosedError

    try:
        return list(_failures(client, cells, keep, progress))
    except (CommClosedError, CancelledError):
        raise PghotError(
            "the cluster went away", "what is finished is kept: start it again, and sweep again"
        ) from None


def _failures(
    client: Any,
    cells: Sequence[Cell],
    keep: Callable[[Cell, pa.Table], None],
    progress: Callable[[int, int], None],
) -> Iterator[Failure]:
    """Compute the cells, keep them, and yield those that failed."""
    from distributed import wait

    waiting, running = deque(cells), dict[Any, Cell]()
    while waiting or running:
        threads = sum(client.nthreads().values())
        while waiting and len(running) < _AHEAD * max(1, threads):
            cell = waiting.popleft()
            running[client.submit(compute, cell, key=f"pghot-{cell.key}", pure=False)] = cell
        progress(len(cells) - len(waiting) - len(running), len(cells))
        try:
            finished = wait(list(running), timeout=TICK_S, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            continue
        for future in finished:
            cell = running.pop(future)
            found = future.result() if future.status == "finished" else _what_happened(future)
            if isinstance(found, str):
                yield Failure(cell, found)
            else:
                keep(cell, found)
            future.release()
    progress(len(cells), len(cells))


def _what_happened(future: Any) -> str:
    """Why a cell's worker could not even say why it failed."""
    error = future.exception()
    if type(error).__name__ == "KilledWorker":
        return (
            "its worker was killed again and again, perhaps as memory ran out; fewer workers have more each"
        )
    return f"{type(error).__name__}: {error}"
