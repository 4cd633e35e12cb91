"""The journal: what was where, before pghot changed it.

A text file of sealed JSON lines (`pghot.sealed`), appended with one write(2) each before the act that it records. A
killed pghot therefore leaves a record of everything it did; a line that was cut off is about an act that never began.
Nothing is fsynced: after a crash of the machine, pages and knobs have lost their state anyway.

Each line is complete in itself: it names the boot, the pghot that wrote it, and the process or file whose pages it is
about. So a damaged line does not affect the others.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Collection, Generator
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pghot.arrays import U8, U64
from pghot.errors import NotPermittedError, PghotError, UsageError
from pghot.kernel.namespaces import namespace
from pghot.kernel.process import Identity, descriptor_path, read_stat
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import MappedFile, Space
from pghot.live.journal_file import FORMAT, held_journal
from pghot.live.journal_lines import Whose, append_line, origins_facts
from pghot.live.journal_place import Place
from pghot.live.journal_rewrite import Facts, Rewritten, rewritten
from pghot.live.journal_runs import LINE_RUNS, RUN, pack
from pghot.units import PAGE_BYTES
from pghot.version import __version__

SUFFIX = ".pghot-journal"
LEAST_BYTES = 4 << 20  # a smaller file is left as it is


class Journal:
    """Appends to a new journal file, which only its owner can read.

    Raises `UsageError` when the file exists or cannot be made; every method raises `PghotError` when the disk is full:
    the caller must not act then.
    """

    def __init__(self, path: Path, root: SysRoot) -> None:
        self.path, self._root = path, root
        self._place, self._fd = _create(path)
        self._found_at = os.readlink(self.own)
        self.empty = True
        me = read_stat(root, os.getpid()).identity if root.live else Identity(os.getpid(), 0, (0, 0, 0))
        self._session: dict[str, Any] = {
            "format": FORMAT,
            "boot_id": root.boot_id(),
            "writer": [me.pid, me.start_ticks],
            "pid_namespace": namespace(root, "pid"),
        }
        self._head: list[Facts] = []  # what it says beside pages
        self._bytes_of: dict[Whose, int] = {}
        self._bytes_since: dict[Whose, int] = {}  # since a rewriting began
        self._tracked: Collection[Whose] = ()
        self._stayed: Collection[Whose] = ()  # not tracked any more, but living when it was rewritten
        self._kept_bytes = 0  # after it was rewritten last
        self._wait_bytes = 0  # until it has so many, after a failure
        self._rewriting: Generator[None, None, Rewritten] | None = None
        self.trouble = ""  # why it could not be rewritten, in words
        self._tell(kind="journal", pghot=__version__, command=sys.argv)

    def knob(self, path: str, old: str, new: str) -> None:
        """A kernel knob is about to change."""
        self.empty = False
        self._tell(kind="knob", path=path, old=old, new=new)

    def compressed(self, node: int) -> None:
        """Pages may be put into compressed swap from now on. The lines that follow call it by this node number."""
        self._tell(kind="compressed", node=node)

    def origins(self, home: Space | MappedFile, address: U64, node: U8, shared: bool = False) -> None:
        """Pages (uint64[K] bytes, in any order) of a space or file that may move from now on, and the node of each.

        shared  a fork shares them among tracked programs: they move, and go back, whoever maps them
        """
        self.empty = False
        # Addresses in sections that were another program's before need not ascend, and runs must.
        vpn, first = np.unique(address // np.uint64(PAGE_BYTES), return_index=True)
        runs = runs_of(vpn, node[first])
        for begin in range(0, len(runs), LINE_RUNS):
            packed = pack(runs[begin : begin + LINE_RUNS])
            written = self._append(origins_facts(home.identity, home.name, packed, shared))
            for count in (self._bytes_of, self._bytes_since):
                count[home.identity] = count.get(home.identity, 0) + written

    # ---- what ended programs left

    def look(self, tracked: Collection[Whose]) -> None:
        """Begin to write the file anew when it is large, and more than half of it is of programs and files that are not
        tracked any more, or it has grown to twice of what was kept: it may say much twice.

        So the file has at most `LEAST_BYTES`, or twice what is of living programs and files if that is more, and what
        was written since the last look.
        """
        size = self.bytes_written
        if self._rewriting is not None or size < max(LEAST_BYTES, self._wait_bytes):
            return
        gone = sum(
            bytes_ for who, bytes_ in self._bytes_of.items() if who not in tracked and who not in self._stayed
        )
        if 2 * gone > size or size >= 2 * self._kept_bytes:
            self._tracked, self._bytes_since = tracked, {}
            self._rewriting = rewritten(self._root, self._place, self._fd, self._head, self._session)

    def go_on(self, most_ns: int) -> None:
        """Go on writing it anew, for so long, and a step at least."""
        until_ns = time.perf_counter_ns() + most_ns
        while self._rewriting is not None:
            try:
                next(self._rewriting)
            except StopIteration as end:
                self._take(end.value)
            except (OSError, PghotError) as error:
                self._rewriting, self._wait_bytes = None, 2 * self.bytes_written
                self.trouble = f"the journal keeps what ended programs left in it: {error}"
            if time.perf_counter_ns() >= until_ns:
                return

    def _take(self, new: Rewritten) -> None:
        os.close(self._fd)
        self._fd, self._rewriting, self._wait_bytes, self.trouble = new.fd, None, 0, ""
        self._kept_bytes = self.bytes_written
        self._stayed = new.bytes_of.keys() - set(self._tracked)
        self._bytes_of = dict(Counter(new.bytes_of) + Counter(self._bytes_since))

    @property
    def own(self) -> str:
        """A path to the file itself, whatever its name is by now."""
        return descriptor_path(self._fd)

    @property
    def moved(self) -> str:
        """That the file has lost its name, in words; empty while it has it.

        The link in /proc is asked: looking at a path that somebody else owns could wait for a file system of theirs.
        """
        now = os.readlink(self.own) if self._fd >= 0 else self._found_at
        if now == self._found_at:
            return ""
        return (
            f"the journal {self.path} lost its name (it is {now} now): should pghot be killed, `pghot undo` does not "
            "find it; move it back, or start pghot anew with a journal where nobody else may write"
        )

    @property
    def bytes_written(self) -> int:
        """How long the file is; 0 once it is closed."""
        return os.fstat(self._fd).st_size if self._fd >= 0 else 0

    def close(self) -> None:
        """Close the file; one in which nothing was changed is not left behind."""
        if self._rewriting is not None:
            self._rewriting.close()
            self._rewriting = None
        if self._fd >= 0:
            if self.empty:
                self._place.remove(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._place.let_go()

    def discard(self) -> None:
        """Everything was put back: the next `close` removes the file."""
        self.empty = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, **facts: Any) -> None:
        """A line that is not about pages."""
        self._append(facts)
        self._head.append(facts)

    def _append(self, facts: Facts) -> int:
        return append_line(self._fd, self.path, {**facts, **self._session})


def _create(path: Path) -> tuple[Place, int]:
    """A new journal file, and where it is. It may replace one whose contents were put back."""
    try:
        place = Place.hold(path)
    except OSError as error:
        raise _refusal(path, error) from None
    try:
        _remove_undone(place)
        place.new.unlink(missing_ok=True)
        return place, place.create()
    except OSError as error:
        refusal = _refusal(path, error, place.at.is_file())
        place.let_go()
        raise refusal from None


def _refusal(path: Path, error: OSError, regular: bool = False) -> PghotError:
    """Why no journal can be made. `regular`: there is a regular file of that name."""
    if isinstance(error, FileExistsError) and not regular:
        return UsageError(f"{path} is not a regular file", "a journal needs one: name another")
    if isinstance(error, FileExistsError):
        return UsageError(
            f"the journal {path} exists already",
            f"pghot undo {path} puts its contents back; or name another file",
        )
    reason, hint = f"cannot make the journal {path}: {error.strerror}", "name another file"
    return NotPermittedError(reason, hint) if isinstance(error, PermissionError) else UsageError(reason, hint)


def _remove_undone(place: Place) -> None:
    """Remove what has the journal's name, if it is a journal whose contents were put back."""
    try:
        with held_journal(place.path, str(place.at)) as read:
            if read.undone:
                place.at.unlink()
    except UsageError:
        return


def mark_undone(path: Path, file: tuple[int, int]) -> None:
    """Write into a journal that everything in it was put back. Raises `OSError` or `PghotError`.

    file  its device and inode when it was read: whoever owns the directory may have replaced it since by another file,
          or by a link to any file or device that we may write. So it is looked at before it is opened to write
    """
    found = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        facts = os.fstat(found)
        if (facts.st_dev, facts.st_ino) != file:
            raise PghotError(
                f"{path} is another file than the one that was read", "nothing was written to it"
            )
        fd = os.open(descriptor_path(found), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            append_line(fd, path, {"kind": "undone"})
        finally:
            os.close(fd)
    finally:
        os.close(found)


def runs_of(vpn: U64, node: U8) -> npt.NDArray[Any]:
    """Runs of neighbouring pages on one node.

    vpn  uint64[K] ascending page numbers, node  uint8[K]

    >>> runs_of(np.array([7, 8, 9], np.uint64), np.array([1, 1, 0], np.uint8)).tolist()
    [(7, 2, 1), (9, 1, 0)]
    """
    if len(vpn) == 0:
        return np.empty(0, RUN)
    breaks = np.flatnonzero((np.diff(vpn) != 1) | (np.diff(node.astype(np.int16)) != 0)) + 1
    first = np.concatenate(([0], breaks))
    runs = np.empty(len(first), RUN)
    runs["first"], runs["node"] = vpn[first], node[first]
    runs["pages"] = np.diff(np.concatenate((first, [len(vpn)])))
    return runs
