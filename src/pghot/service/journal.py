"""The journal: what was where, before pghot changed it.

A text file of sealed JSON lines (`pghot.sealed`), appended with one write(2) each before the act it stands for. A
killed pghot therefore loses nothing that it did; a line that was cut off names an act that never began. Nothing is
fsynced: after a crash of the machine neither the pages nor the knobs are what they were anyway.

Each line stands for itself: it names the boot, the pghot that wrote it, and the process whose pages it is about. One
that was damaged takes nothing with it, whichever it is.
"""

from __future__ import annotations

import base64
import errno
import os
import stat
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pghot import __version__
from pghot.errors import NotPermittedError, PghotError, UsageError
from pghot.kernel.process import Identity, read_stat
from pghot.kernel.spaces import Space
from pghot.kernel.sysroot import SysRoot
from pghot.sealed import seal, unseal
from pghot.units import PAGE_BYTES

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]

FORMAT = 2
SUFFIX = ".pghot-journal"
_RUN = np.dtype([("first", "<u8"), ("pages", "<u4"), ("node", "<u4")])
_LINE_RUNS = 1 << 16
_LINE_PAGES = 1 << 30  # 4 TiB, far more than a step of a run is about
END_VPN = np.uint64(1 << 52)
MOST_NODE = 254  # 255 is "nowhere"


class Journal:
    """Appends to a new journal file, which only its owner can read.

    Raises `UsageError` when the file exists or cannot be made; every method raises `PghotError` when the disk is full:
    the caller must not act then.
    """

    def __init__(self, path: Path, root: SysRoot) -> None:
        self.path = path
        self._fd = _create(path)
        self.empty = True
        me = read_stat(root, os.getpid()).identity if root.live else Identity(os.getpid(), 0, (0, 0, 0))
        self._session: dict[str, Any] = {
            "format": FORMAT,
            "boot_id": root.read_or("/proc/sys/kernel/random/boot_id"),
            "writer": [me.pid, me.start_ticks],
        }
        self._append(kind="journal", pghot=__version__, command=sys.argv)

    def knob(self, path: str, old: str, new: str) -> None:
        """A kernel knob is about to change."""
        self.empty = False
        self._append(kind="knob", path=path, old=old, new=new)

    def compressed(self, node: int) -> None:
        """Pages may be put into compressed swap from now on, which stands as this node in what follows."""
        self._append(kind="compressed", node=node)

    def origins(self, space: Space, address: U64, node: U8) -> None:
        """Pages (uint64[K] bytes, ascending) of `space` that may move from now on, and where they are."""
        self.empty = False
        who = space.identity
        runs = runs_of(address // np.uint64(PAGE_BYTES), node)
        for begin in range(0, len(runs), _LINE_RUNS):
            packed = base64.b64encode(zlib.compress(runs[begin : begin + _LINE_RUNS].tobytes(), 1))
            self._append(
                kind="origins", pid=who.pid, start_ticks=who.start_ticks, mm=list(who.mm), name=space.name,
                runs=packed.decode(),
            )  # fmt: skip

    def close(self) -> None:
        """Close the file; one in which nothing was changed is not left behind."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            if self.empty:
                self.path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Everything is back: the file goes with the next `close`."""
        self.empty = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, **facts: Any) -> None:
        append_line(self._fd, self.path, facts | self._session)


def _make_directory(path: Path) -> None:
    """`mkdir -p`; `NotADirectoryError` when something else has the name."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from error


def _create(path: Path) -> int:
    """A new journal file, in the place of one whose contents were put back."""
    try:
        _make_directory(path.parent)
        if _is_undone(path):
            path.unlink()
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        if not path.is_file():
            raise UsageError(f"{path} is not a regular file", "a journal needs one: name another") from None
        raise UsageError(
            f"the journal {path} exists already",
            f"pghot undo {path} puts its contents back; or name another file",
        ) from None
    except PermissionError as error:
        raise NotPermittedError(
            f"cannot make the journal {path}: {error.strerror}", "name another file"
        ) from None
    except OSError as error:
        raise UsageError(f"cannot make the journal {path}: {error.strerror}", "name another file") from None


def _is_undone(path: Path) -> bool:
    try:
        return path.is_file() and read_journal(path).undone
    except UsageError:
        return False


def mark_undone(path: Path) -> None:
    """Write into a journal that everything in it was put back. Raises `OSError` or `PghotError`."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        append_line(fd, path, {"kind": "undone"})
    finally:
        os.close(fd)


def append_line(fd: int, path: Path, facts: dict[str, Any]) -> None:
    """One sealed line. Raises `PghotError` when it cannot be written whole; the file is cut back then."""
    line = (seal(facts) + "\n").encode("utf-8", "surrogateescape")
    size = os.fstat(fd).st_size
    try:
        if os.write(fd, line) == len(line):
            return
        reason = "No space left on device"
    except OSError as error:
        reason = error.strerror or str(error)
    os.ftruncate(fd, size)
    raise PghotError(
        f"cannot write the journal {path}: {reason}",
        "nothing is changed without it; make room, or name another file",
    )


def runs_of(vpn: U64, node: U8) -> npt.NDArray[Any]:
    """Runs of neighbouring pages on one node.

    vpn  uint64[K] ascending page numbers, node  uint8[K]

    >>> runs_of(np.array([7, 8, 9], np.uint64), np.array([1, 1, 0], np.uint8)).tolist()
    [(7, 2, 1), (9, 1, 0)]
    """
    if len(vpn) == 0:
        return np.empty(0, _RUN)
    breaks = np.flatnonzero((np.diff(vpn) != 1) | (np.diff(node.astype(np.int16)) != 0)) + 1
    first = np.concatenate(([0], breaks))
    runs = np.empty(len(first), _RUN)
    runs["first"], runs["node"] = vpn[first], node[first]
    runs["pages"] = np.diff(np.concatenate((first, [len(vpn)])))
    return runs


@dataclass(slots=True)
class SpaceEntry:
    """One address space of a journal. Later entries of a page are ignored: the first is where it came from."""

    identity: Identity
    name: str
    runs: list[npt.NDArray[Any]] = field(default_factory=list)

    def origins(self) -> tuple[U64, U8]:
        """Addresses uint64[K] (bytes, ascending, each once) and the first node of each, uint8[K]."""
        if not self.runs:
            return np.empty(0, np.uint64), np.empty(0, np.uint8)
        runs = np.concatenate(self.runs)
        lengths = runs["pages"].astype(np.int64)
        offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        vpn = np.repeat(runs["first"], lengths) + offsets.astype(np.uint64)
        node = np.repeat(runs["node"], lengths).astype(np.uint8)
        vpn, first = np.unique(vpn, return_index=True)
        return vpn * np.uint64(PAGE_BYTES), node[first]


@dataclass(slots=True)
class JournalFile:
    """A journal that was read.

    boot_id         of the boot in which it was written
    writer          pid and start time (clock ticks since boot) of the pghot that wrote it
    damaged         numbers of the lines that could not be read, from 1
    compressed      pages may have been put into compressed swap
    """

    path: Path
    boot_id: str
    writer: tuple[int, int]
    knobs: list[tuple[str, str, str]] = field(default_factory=list)
    spaces: list[SpaceEntry] = field(default_factory=list)
    undone: bool = False
    damaged: list[int] = field(default_factory=list)
    compressed: bool = False


def _read_own(path: Path) -> bytes:
    """The bytes of a journal. Raises `UsageError` when it cannot be read, or is another user's.

    Asked of the open file: who owns its directory may have put another in its place since.
    """
    try:
        # Opening a pipe must not wait for its writer, and a device may never end.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise UsageError(f"the journal {path} is not a file", "name a *.pghot-journal")
            if facts.st_uid not in (0, os.geteuid()):
                raise UsageError(
                    f"the journal {path} belongs to another user (uid {facts.st_uid}), "
                    "who may have written anything there",
                    f"if you trust it, undo a copy of your own: cp {path} FILE",
                )
            return file.read()
    except OSError as error:
        raise UsageError(
            f"cannot read the journal {path}: {error.strerror}", "name a *.pghot-journal"
        ) from None


def read_journal(path: Path) -> JournalFile:
    """Read what can be read of a journal: undo writes what it says to files of the kernel.

    Raises `UsageError` when that is nothing, is of another version, or when the file is another user's.
    """
    text = _read_own(path).decode("utf-8", "surrogateescape")
    facts = [_fact(line) for line in text.removesuffix("\n").split("\n")]
    journal = _journal_of(path, next((each for each in facts if "format" in each), {}))
    entries: dict[Identity, SpaceEntry] = {}
    for number, fact in enumerate(facts, 1):
        try:
            _enter(journal, entries, fact)
        except (KeyError, OverflowError, TypeError, ValueError, zlib.error):
            journal.damaged.append(number)
    if not journal.damaged and facts[0].get("kind") != "journal":
        journal.damaged.append(1)  # cut off in front: what else is missing, nobody knows
    journal.spaces = list(entries.values())
    return journal


def _fact(line: str) -> dict[str, Any]:
    """What a line says, nothing when it is damaged."""
    try:
        return unseal(line)
    except ValueError:
        return {}


def _journal_of(path: Path, fact: dict[str, Any]) -> JournalFile:
    """The journal that a line is of."""
    if fact.get("format", FORMAT) != FORMAT:
        raise UsageError(
            f"{path} has format {fact['format']}, this pghot reads {FORMAT}", "use the pghot that wrote it"
        )
    try:
        pid, start_ticks = fact["writer"]
        return JournalFile(path, str(fact["boot_id"]), (int(pid), int(start_ticks)))
    except (KeyError, OverflowError, TypeError, ValueError):
        raise UsageError(
            f"{path} is not a journal of pghot, or no line of it can be read", "name a *.pghot-journal"
        ) from None


def _knob_path(path: str) -> str:
    """A file of the kernel's. Raises `ValueError` for any other: undo writes to it."""
    parts = PurePosixPath(path).parts
    if parts[:2] not in (("/", "proc"), ("/", "sys")) or ".." in parts or "\0" in path:
        raise ValueError(f"{path} is no knob")
    whose = parts[2] if parts[1] == "proc" and len(parts) > 3 else ""
    if whose.isdigit() or whose in ("self", "thread-self"):
        raise ValueError(f"{path} is a file of a program")  # /proc/PID/root leads anywhere
    return path


def _possible(runs: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The runs, which must be such as an address space can have. Raises `ValueError`."""
    pages = runs["pages"].astype(np.uint64)
    if (runs["node"] > MOST_NODE).any() or (runs["first"] > END_VPN - pages).any():
        raise ValueError("no such page or node")
    if int(pages.sum()) > _LINE_PAGES:
        raise ValueError("more pages than one line is about")
    return runs


def _enter(journal: JournalFile, entries: dict[Identity, SpaceEntry], fact: dict[str, Any]) -> None:
    if fact["kind"] == "undone":
        journal.undone = True
        return
    if (fact["format"], fact["boot_id"], *fact["writer"]) != (FORMAT, journal.boot_id, *journal.writer):
        raise ValueError("a line of another journal")
    match fact["kind"]:
        case "journal":
            return
        case "knob":
            journal.knobs.append((_knob_path(fact["path"]), str(fact["old"]), str(fact["new"])))
        case "origins":
            code, stack, arguments = fact["mm"]
            identity = Identity(int(fact["pid"]), int(fact["start_ticks"]), (code, stack, arguments))
            packed = zlib.decompress(base64.b64decode(fact["runs"], validate=True))
            runs = _possible(np.frombuffer(packed, _RUN))
            entries.setdefault(identity, SpaceEntry(identity, str(fact["name"]))).runs.append(runs)
        case "compressed":
            journal.compressed = True
        case _:
            raise ValueError(fact["kind"])
