"""Reading a journal that `pghot.live.journal` wrote, without trusting it.

Undo writes what a journal says to files of the kernel. So a journal that another user may have written is refused, and
so are a knob that pghot does not set, a value that the knob cannot have, and a page that no address space has.
"""

from __future__ import annotations

import base64
import os
import stat
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from pghot.arrays import U8, U64
from pghot.errors import UsageError
from pghot.kernel.knob_files import check_knob
from pghot.kernel.process import Identity
from pghot.kernel.watched import FileIdentity
from pghot.sealed import unseal
from pghot.units import PAGE_BYTES

FORMAT = 2
RUN = np.dtype([("first", "<u8"), ("pages", "<u4"), ("node", "<u4")])  # neighbouring pages on one node
_LINE_PAGES = 1 << 30  # 4 TiB, far more than one step of a run moves
END_VPN = np.uint64(1 << 52)
MOST_NODE = 254  # 255 is "nowhere"
_MOST_DEVICE, _MOST_INODE, _MOST_BORN_NS = 1 << 32, 1 << 64, 1 << 63
Who = TypeVar("Who")


@dataclass(slots=True)
class Entry(Generic[Who]):
    """One address space of a journal, or one file. Only the first entry of a page counts: it says where the page came
    from."""

    identity: Who
    name: str
    runs: list[npt.NDArray[Any]] = field(default_factory=list)
    shared: list[npt.NDArray[Any]] = field(
        default_factory=list
    )  # those of the runs that moved whoever mapped them

    def origins(self) -> tuple[U64, U8]:
        """Addresses or offsets uint64[K] (bytes, ascending, each once) and the first node of each, uint8[K]."""
        if not self.runs:
            return np.empty(0, np.uint64), np.empty(0, np.uint8)
        runs = np.concatenate(self.runs)
        vpn, first = np.unique(_pages_of(runs), return_index=True)
        node = np.repeat(runs["node"], runs["pages"].astype(np.int64)).astype(np.uint8)
        return vpn * np.uint64(PAGE_BYTES), node[first]

    def moved_shared(self) -> U64:
        """Addresses uint64[K] (bytes) of the pages that moved whoever mapped them."""
        pages = _pages_of(np.concatenate(self.shared)) if self.shared else np.empty(0, np.uint64)
        return np.unique(pages) * np.uint64(PAGE_BYTES)


def _pages_of(runs: npt.NDArray[Any]) -> U64:
    """All page numbers of the runs, one run after the other."""
    lengths = runs["pages"].astype(np.int64)
    offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    pages: U64 = np.repeat(runs["first"], lengths) + offsets.astype(np.uint64)
    return pages


SpaceEntry = Entry[Identity]
FileEntry = Entry[FileIdentity]


@dataclass(slots=True)
class JournalFile:
    """A journal that was read.

    file            device and inode: another file may have that name later
    boot_id         of the boot in which it was written
    writer          pid and start time (clock ticks since boot) of the pghot that wrote it
    pid_namespace   in which all pids are; "" when it is not known
    damaged         numbers of the lines that could not be read, from 1
    compressed      pages may have been put into compressed swap
    """

    path: Path
    file: tuple[int, int]
    boot_id: str
    writer: tuple[int, int]
    pid_namespace: str = ""
    knobs: list[tuple[str, str, str]] = field(default_factory=list)
    spaces: list[SpaceEntry] = field(default_factory=list)
    files: list[FileEntry] = field(default_factory=list)
    undone: bool = False
    damaged: list[int] = field(default_factory=list)
    compressed: bool = False


def _read_own(path: Path) -> tuple[bytes, tuple[int, int]]:
    """The bytes of a journal, and which file it is. Raises `UsageError` when it cannot be read, or others may
    have written it.

    The open file is asked, because the owner of its directory may have replaced it since.
    """
    try:
        # Opening a pipe must not wait for a writer, and a device may never end.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise UsageError(f"the journal {path} is not a file", "name a *.pghot-journal")
            if facts.st_uid not in (0, os.geteuid()):
                raise UsageError(
                    f"the journal {path} belongs to another user (uid {facts.st_uid}), "
                    "who may have written anything there",
                    f"that user can undo it: sudo -u '#{facts.st_uid}' pghot undo {path}",
                )
            if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise UsageError(
                    f"others may write to the journal {path} (mode {stat.S_IMODE(facts.st_mode):04o}), "
                    "and may have written anything there",
                    "pghot makes journals that only their owner can write; "
                    "move pages back with migratepages(8), and set knobs by hand",
                )
            return file.read(), (facts.st_dev, facts.st_ino)
    except OSError as error:
        raise UsageError(
            f"cannot read the journal {path}: {error.strerror}", "name a *.pghot-journal"
        ) from None


def read_journal(path: Path) -> JournalFile:
    """Read what can be read of a journal: undo writes what it says to files of the kernel.

    Raises `UsageError` when that is nothing, is of another version, or when others may have written it.
    """
    data, file = _read_own(path)
    text = data.decode("utf-8", "surrogateescape")
    facts = [_fact(line) for line in text.removesuffix("\n").split("\n")]
    journal = _journal_of(path, file, next((each for each in facts if "format" in each), {}))
    spaces: dict[Identity, SpaceEntry] = {}
    files: dict[FileIdentity, FileEntry] = {}
    for number, fact in enumerate(facts, 1):
        try:
            _enter(journal, spaces, files, fact)
        except (KeyError, OverflowError, TypeError, ValueError, zlib.error):
            journal.damaged.append(number)
    if not journal.damaged and facts[0].get("kind") != "journal":
        journal.damaged.append(1)  # the beginning is missing, and nobody knows what else
    journal.spaces, journal.files = list(spaces.values()), list(files.values())
    return journal


def _fact(line: str) -> dict[str, Any]:
    """What a line says; empty when it is damaged."""
    try:
        return unseal(line)
    except ValueError:
        return {}


def _journal_of(path: Path, file: tuple[int, int], fact: dict[str, Any]) -> JournalFile:
    """The journal that a line belongs to."""
    if fact.get("format", FORMAT) != FORMAT:
        raise UsageError(
            f"{path} has format {fact['format']}, this pghot reads {FORMAT}", "use the pghot that wrote it"
        )
    try:
        pid, start_ticks = fact["writer"]
        who = (int(pid), int(start_ticks))
        return JournalFile(path, file, str(fact["boot_id"]), who, str(fact.get("pid_namespace", "")))
    except (KeyError, OverflowError, TypeError, ValueError):
        raise UsageError(
            f"{path} is not a journal of pghot, or no line of it can be read", "name a *.pghot-journal"
        ) from None


def _possible(runs: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The runs, if an address space can have such pages. Raises `ValueError` otherwise."""
    pages = runs["pages"].astype(np.uint64)
    if (runs["node"] > MOST_NODE).any() or (runs["first"] > END_VPN - pages).any():
        raise ValueError("no such page or node")
    if int(pages.sum()) > _LINE_PAGES:
        raise ValueError("more pages than one line is about")
    return runs


def _runs(text: Any) -> npt.NDArray[Any]:
    return _possible(np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), RUN))


def _file_identity(device: Any, inode: Any, born_ns: Any) -> FileIdentity:
    """Raises `TypeError` or `ValueError` for what no file has."""
    if not (
        device in range(_MOST_DEVICE) and inode in range(_MOST_INODE) and born_ns in range(_MOST_BORN_NS)
    ):
        raise ValueError("no such file")
    return FileIdentity(int(device), int(inode), int(born_ns))


def _enter(
    journal: JournalFile,
    spaces: dict[Identity, SpaceEntry],
    files: dict[FileIdentity, FileEntry],
    fact: dict[str, Any],
) -> None:
    if fact["kind"] == "undone":
        journal.undone = True
        return
    if (fact["format"], fact["boot_id"], *fact["writer"]) != (FORMAT, journal.boot_id, *journal.writer):
        raise ValueError("a line of another journal")
    match fact["kind"]:
        case "journal":
            return
        case "knob":
            path, old, new = fact["path"], fact["old"], fact["new"]
            check_knob(path, old, new)
            journal.knobs.append((path, old, new))
        case "origins":
            code, stack, arguments = fact["mm"]
            identity = Identity(int(fact["pid"]), int(fact["start_ticks"]), (code, stack, arguments))
            runs = _runs(fact["runs"])
            entry = spaces.setdefault(identity, SpaceEntry(identity, str(fact["name"])))
            entry.runs.append(runs)
            if fact.get("shared") is True:
                entry.shared.append(runs)
        case "file_origins":
            file = _file_identity(fact["device"], fact["inode"], fact["born_ns"])
            runs = _runs(fact["runs"])
            files.setdefault(file, FileEntry(file, str(fact["name"]))).runs.append(runs)
        case "compressed":
            journal.compressed = True
        case _:
            raise ValueError(fact["kind"])
