"""Undo: pages back to the nodes they came from, kernel knobs back to their values, from a journal."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from pghot.arrays import U8, U64, Bool
from pghot.errors import NotPermittedError, PghotError, UsageError
from pghot.kernel.move_pages import move_pages, query_nodes
from pghot.kernel.namespaces import contained, member, namespace
from pghot.kernel.process import Identity, alive, read_stat, refused
from pghot.kernel.sysroot import SysRoot
from pghot.live.journal import Journal, mark_undone
from pghot.live.journal_file import JournalFile, SpaceEntry, read_journal
from pghot.live.knobs import put_back
from pghot.live.swap_tier.fetch_back import fetch

BATCH_PAGES = 512
ROUNDS = 5  # for pages that are busy

Progress = Callable[[int, int], None]


class UndoneFacts(TypedDict):
    schema: str
    pages_back: int
    pages_home: int
    pages_gone: int
    pages_left: dict[str, int]
    processes_gone: list[str]
    knobs: list[str]
    problems: list[str]


@dataclass(slots=True)
class Undone:
    """What an undo did.

    pages_back     pages that are on their first node again because of it
    pages_home     pages that never left, or had come back
    pages_gone     pages that their program gave up since
    pages_left     pages that could not be moved back (busy, pinned, shared, no room), by process
    processes_gone processes that ended or run another program now
    """

    pages_back: int = 0
    pages_home: int = 0
    pages_gone: int = 0
    pages_left: dict[str, int] = field(default_factory=dict)
    processes_gone: list[str] = field(default_factory=list)
    knobs: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def facts(self) -> UndoneFacts:
        """The JSON of `pghot undo`."""
        return {
            "schema": "pghot.undo/1",
            "pages_back": self.pages_back,
            "pages_home": self.pages_home,
            "pages_gone": self.pages_gone,
            "pages_left": self.pages_left,
            "processes_gone": self.processes_gone,
            "knobs": self.knobs,
            "problems": self.problems,
        }

    @property
    def complete(self) -> bool:
        return not self.problems and not self.pages_left


@dataclass(frozen=True, slots=True)
class _Plan:
    """Pages of one process: addresses uint64[K] (bytes, ascending) and the node where each belongs, uint8[K]."""

    entry: SpaceEntry
    address: U64
    node: U8

    @property
    def identity(self) -> Identity:
        return self.entry.identity

    @property
    def who(self) -> str:
        return f"{self.identity.pid} ({self.entry.name})"


def undo(journal: JournalFile, root: SysRoot, progress: Progress = lambda done, of: None) -> Undone:
    """Put back what the journal says. Calling it again is harmless.

    Raises `UsageError` when the pghot that wrote it still runs, and `NotPermittedError` for a process that is not ours,
    after the others' pages were put back.
    """
    result = Undone()
    if journal.boot_id != root.boot_id():
        result.processes_gone.append("the machine was rebooted since: nothing to put back")
        _mark(journal)
        return result
    refuse_while_running(journal, root)
    if not same_pids(journal, root):
        result.processes_gone.append("the container in which it was written has ended, and all its programs")
        journal.spaces.clear()
    result.problems += put_back(root, journal.knobs)
    result.knobs = list(dict.fromkeys(path for path, _, _ in journal.knobs))
    plans = [_Plan(entry, *entry.origins()) for entry in journal.spaces]
    if journal.damaged:
        result.problems.append(_what_is_lost(journal))
    total, done = sum(len(plan.address) for plan in plans), 0
    denied: NotPermittedError | None = None
    for plan in plans:
        nothing = np.zeros(len(plan.address), np.bool_)
        try:
            out, still = (
                fetch(root, plan.identity, plan.address) if journal.compressed else (nothing, nothing)
            )
            _put_pages_back(root, plan, out, still, result)
        except NotPermittedError as error:
            denied = denied or error
        done += len(plan.address)
        progress(done, total)
    if denied is not None:
        raise denied
    if result.complete:
        _mark(journal)
    return result


def _mark(journal: JournalFile) -> None:
    """Mark the journal as undone, so that its file may be replaced. Failing to mark it does no harm."""
    with contextlib.suppress(OSError, PghotError):
        mark_undone(journal.path, journal.file)


def undo_open(journal: Journal, root: SysRoot) -> Undone:
    """Undo what this process itself wrote to its journal."""
    return undo(read_journal(journal.path), root)


def refuse_while_running(journal: JournalFile, root: SysRoot) -> None:
    """Raise `UsageError` when the pghot that wrote the journal still runs, or the container in which it did."""
    if journal.boot_id != root.boot_id() or not same_pids(journal, root):
        return
    pid, start_ticks = journal.writer
    try:
        running = pid != os.getpid() and read_stat(root, pid).identity.start_ticks == start_ticks
    except OSError:
        running = False
    if running:
        raise UsageError(
            f"the pghot that writes {journal.path} still runs (pid {pid})", f"end it first: kill {pid}"
        )


def same_pids(journal: JournalFile, root: SysRoot) -> bool:
    """Whether pids mean here what they meant to the writer. False when it was in a container that has ended.

    Raises `UsageError` when that container still runs, or cannot be seen from here.
    """
    here = namespace(root, "pid")
    if journal.pid_namespace in ("", here) or not here:
        return True
    if contained(root, "pid"):
        raise UsageError(
            f"{journal.path} was not written in this container, whose pids are its own",
            "run pghot undo where it was written, or on the host",
        )
    if (pid := member(root, journal.pid_namespace)) is not None:
        raise UsageError(
            f"{journal.path} was written in a container that still runs (pid {pid} here), whose pids are its own",
            f"run pghot undo there: nsenter -t {pid} -a pghot undo ...",
        )
    return False


def _what_is_lost(journal: JournalFile) -> str:
    """What may be missing because of unreadable lines, and what to do about it."""
    shown = ", ".join(map(str, journal.damaged[:5])) + (", ..." if len(journal.damaged) > 5 else "")
    return (
        f"line {shown} of the journal cannot be read; what the others name was put back. Pages that no other line "
        f"names stay until their program ends (or migratepages(8) moves them), knobs until you set them; then remove "
        f"{journal.path}"
    )


def _put_pages_back(root: SysRoot, plan: _Plan, out: Bool, still: Bool, result: Undone) -> None:
    """`out`, `still`: bool[K], pages that were in swap before this undo, and those that are even now."""
    address, node = plan.address, plan.node
    before = _query(root, plan.identity, address)
    now = before
    for _ in range(ROUNDS):
        if now is None:
            break
        away = (now >= 0) & (now != node)
        if not away.any():
            break
        _move(root, plan.identity, address[away], node[away])
        now = _query(root, plan.identity, address)
    if before is None or now is None:
        result.processes_gone.append(plan.who)
        return
    away = (before != node) | out
    result.pages_back += int(np.count_nonzero((now == node) & away))
    result.pages_home += int(np.count_nonzero((now == node) & ~away))
    result.pages_gone += int(np.count_nonzero((now < 0) & ~still))
    left = int(np.count_nonzero(((now >= 0) & (now != node)) | ((now < 0) & still)))
    if left:
        result.pages_left[plan.who] = left


def _query(root: SysRoot, identity: Identity, address: U64) -> npt.NDArray[np.int32] | None:
    """Node of each page, None when the process ended or runs another program now."""
    if not alive(root, identity):
        return None
    try:
        return query_nodes(identity.pid, address)
    except OSError as error:
        # EINVAL: it ended and is not reaped yet (find_mm_struct, mm/migrate.c).
        if error.errno in (errno.ESRCH, errno.EINVAL):
            return None
        raise refused(identity.pid, "move pages of", "CAP_SYS_PTRACE") from error


def _move(root: SysRoot, identity: Identity, address: U64, node: U8) -> None:
    """Move pages to their nodes in batches, those for higher (slower) nodes first, which frees room on the others."""
    order = np.argsort(255 - node, kind="stable")
    for begin in range(0, len(order), BATCH_PAGES):
        batch = np.sort(order[begin : begin + BATCH_PAGES])
        if not alive(root, identity):
            return
        try:
            move_pages(identity.pid, address[batch], node[batch].astype(np.int32))
        except OSError:
            return  # the next query says what happened
