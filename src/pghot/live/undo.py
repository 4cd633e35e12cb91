"""Undo: pages back to the nodes they came from, kernel knobs back to their values, from a journal."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pghot.arrays import U8, U64, Bool
from pghot.errors import NotPermittedError, PghotError, UsageError
from pghot.kernel.maps_text import read_maps
from pghot.kernel.move_pages import move_pages, query_nodes
from pghot.kernel.namespaces import contained, member, namespace
from pghot.kernel.process import Identity, alive, read_stat, refused
from pghot.kernel.sysroot import SysRoot
from pghot.live.journal import Journal, mark_undone
from pghot.live.journal_file import JournalFile, SpaceEntry, held_journal
from pghot.live.journal_runs import Range, joined_ranges, pages_outside, pieces
from pghot.live.knobs import put_back
from pghot.live.swap_tier.fetch_back import fetch
from pghot.live.undo_files import put_files_back
from pghot.live.undone import ROUNDS, Undone, slowest_first
from pghot.units import PAGE_BYTES

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Plan:
    """Some pages of one process: addresses uint64[K] (bytes, ascending), the node where each belongs, uint8[K], and
    which of them go back even if other programs map them, bool[K]."""

    entry: SpaceEntry
    address: U64
    node: U8
    shared: Bool

    @property
    def identity(self) -> Identity:
        return self.entry.identity

    @property
    def who(self) -> str:
        return _who(self.entry)


def _who(entry: SpaceEntry) -> str:
    return f"{entry.identity.pid} ({entry.name})"


def _plans(entry: SpaceEntry, ranges: Sequence[Range]) -> Iterator[_Plan]:
    """The pages of an entry in these ranges, a part at a time: there may be many."""
    for piece in pieces(entry.lines, ranges):
        yield _Plan(entry, piece.vpn * np.uint64(PAGE_BYTES), piece.node, piece.shared)


def undo(journal: JournalFile, root: SysRoot, progress: Progress = lambda done, of: None) -> Undone:
    """Put back what the journal says. Calling it again is harmless.

    Raises `UsageError` when the pghot that wrote it still runs, and `NotPermittedError` for a process that is not ours,
    after the others' pages were put back.
    """
    result = Undone()
    if journal.boot_id != root.boot_id():
        result.nothing = "the machine was rebooted since the journal was written: nothing is left to put back"
        _mark(journal)
        return result
    refuse_while_running(journal, root)
    if not same_pids(journal, root):
        result.nothing = "the container in which the journal was written has ended, and its programs with it"
        journal.spaces.clear()
    elif not (journal.knobs or journal.spaces or journal.files):
        result.nothing = "the journal names neither pages nor knobs: there is nothing to put back"
    result.knobs, result.problems = put_back(root, journal.knobs)
    if journal.damaged:
        result.problems.append(_what_is_lost(journal))
    total, done = sum(entry.pages for entry in journal.spaces), 0
    denied: NotPermittedError | None = None
    for entry in journal.spaces:
        try:
            for pages in _put_entry_back(root, journal, entry, result):
                progress(done + pages, total)
        except NotPermittedError as error:
            denied = denied or error
        done += entry.pages
    try:
        put_files_back(root, journal.files, result)
    except NotPermittedError as error:
        denied = denied or error
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
    with held_journal(journal.path, journal.own) as read:
        return undo(read, root)


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


def _put_entry_back(root: SysRoot, journal: JournalFile, entry: SpaceEntry, result: Undone) -> Iterator[int]:
    """Put the pages of one process back, a part at a time; how many of the entry's are done."""
    if not alive(root, entry.identity) or (ranges := _mapped(root, entry.identity.pid)) is None:
        result.processes_gone.append(_who(entry))
        yield entry.pages
        return
    parts = done = 0
    for plan in _plans(entry, ranges):
        out = still = np.zeros(len(plan.address), np.bool_)
        if journal.compressed:
            out, still = fetch(root, plan.identity, plan.address)
        _put_pages_back(root, plan, out, still, result)
        parts, done = parts + 1, done + len(plan.address)
        yield done
    if parts > 1:
        _try_again(root, entry, ranges, result)
    result.pages_gone += pages_outside(entry.lines, ranges)
    if done < entry.pages:
        yield entry.pages  # some pages are in several lines, or are not mapped any more


def _mapped(root: SysRoot, pid: int) -> list[Range] | None:
    """What a process maps, in few ranges with some gaps: nothing else is asked about, whatever a journal names. None
    when it has ended. Raises `NotPermittedError`."""
    try:
        maps = read_maps(root, pid)
    except PermissionError as error:
        raise refused(pid, "move pages of", "CAP_SYS_PTRACE") from error
    except OSError:
        return None
    return joined_ranges(maps.start // np.uint64(PAGE_BYTES), maps.end // np.uint64(PAGE_BYTES))


def _try_again(root: SysRoot, entry: SpaceEntry, ranges: Sequence[Range], result: Undone) -> None:
    """Pages that found no room may have some, now that those of later parts have left."""
    for plan in _plans(entry, ranges):
        if not (left := result.pages_left.get(plan.who, 0)):
            return
        now = _query(root, plan.identity, plan.address)
        if now is None:
            return
        away = (now >= 0) & (now != plan.node)
        _move_away(root, plan, away)
        now = _query(root, plan.identity, plan.address)
        if now is None:
            return
        came = int(np.count_nonzero(away & (now == plan.node)))
        result.pages_back += came
        result.pages_left[plan.who] = left - came
        if left == came:
            del result.pages_left[plan.who]


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
        _move_away(root, plan, away)
        now = _query(root, plan.identity, address)
    if before is None or now is None:
        if plan.who not in result.processes_gone:
            result.processes_gone.append(plan.who)
        return
    away = (before != node) | out
    result.pages_back += int(np.count_nonzero((now == node) & away))
    result.pages_home += int(np.count_nonzero((now == node) & ~away))
    result.pages_gone += int(np.count_nonzero((now < 0) & ~still))
    left = int(np.count_nonzero(((now >= 0) & (now != node)) | ((now < 0) & still)))
    if left:
        result.pages_left[plan.who] = result.pages_left.get(plan.who, 0) + left


def _move_away(root: SysRoot, plan: _Plan, away: Bool) -> None:
    for everyone in (False, True):
        some = away & (plan.shared == everyone)
        _move(root, plan.identity, plan.address[some], plan.node[some], everyone)


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


def _move(root: SysRoot, identity: Identity, address: U64, node: U8, everyone: bool) -> None:
    """Move pages to their nodes in batches."""
    for batch in slowest_first(node):
        if not alive(root, identity):
            return
        try:
            move_pages(identity.pid, address[batch], node[batch].astype(np.int32), everyone)
        except OSError:
            return  # the next query says what happened
