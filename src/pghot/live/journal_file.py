"""Reading a journal that `pghot.live.journal` wrote, without trusting it.

Undo writes what a journal says to files of the kernel. So a journal that another user may have written is refused, and
so are a knob that pghot does not set, a value that the knob cannot have, and a page that no address space has.
"""

from __future__ import annotations

import contextlib
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

import numpy as np

from pghot.arrays import U8, U64
from pghot.errors import UsageError
from pghot.kernel.fuse import served_by
from pghot.kernel.knob_files import check_knob
from pghot.kernel.process import Identity
from pghot.kernel.regular_file import open_regular
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import FileIdentity
from pghot.live.journal_runs import Line, line_of, pieces
from pghot.sealed import unseal
from pghot.units import PAGE_BYTES

FORMAT = 3
# Far more than any pghot wrote, and few enough to be counted: 4 PiB, and a line with the longest command that there is.
MOST_PAGES = 1 << 40
MOST_LINE_BYTES = 16 << 20
_MOST_PID, _MOST_TICKS, _MOST_ADDRESS = 1 << 30, 1 << 63, 1 << 64
_MOST_DEVICE, _MOST_INODE, _MOST_BORN_NS = 1 << 32, 1 << 64, 1 << 63
Who = TypeVar("Who")


@dataclass(slots=True)
class Entry(Generic[Who]):
    """One address space of a journal, or one file. Only the first entry of a page counts: it says where the page came
    from."""

    identity: Who
    name: str
    lines: list[Line] = field(default_factory=list)

    @property
    def pages(self) -> int:
        """How many pages the lines are about; one that several name counts in each."""
        return sum(line.pages for line in self.lines)

    def origins(self) -> tuple[U64, U8]:
        """Addresses or offsets uint64[K] (bytes, ascending, each once) and the first node of each, uint8[K]."""
        if not self.lines:
            return np.empty(0, np.uint64), np.empty(0, np.uint8)
        parts = list(pieces(self.lines))
        vpn = np.concatenate([part.vpn for part in parts])
        return vpn * np.uint64(PAGE_BYTES), np.concatenate([part.node for part in parts])


SpaceEntry = Entry[Identity]
FileEntry = Entry[FileIdentity]
_Entries = dict[Identity | FileIdentity, list[Line]]


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


def _open_own(path: Path, at: Path | str) -> tuple[BinaryIO, tuple[int, int]]:
    """The journal `path`, which is opened `at`, and which file it is.

    Raises `UsageError` when it cannot be read, or others may have written it.
    The open file is asked, because the owner of its directory may have replaced it since.
    """
    try:
        file = open(open_regular(at), "rb")  # noqa: SIM115
    except OSError as error:
        raise UsageError(
            f"cannot read the journal {path}: {error.strerror}", "name a *.pghot-journal"
        ) from None
    try:
        return file, _trusted(path, file.fileno())
    except UsageError:
        file.close()
        raise


def _trusted(path: Path, fd: int) -> tuple[int, int]:
    """Device and inode of an open file that nobody else may have written. Raises `UsageError`."""
    facts = os.fstat(fd)
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
    if (user := served_by(SysRoot(), facts.st_dev)) not in (None, 0, os.geteuid()):
        raise UsageError(
            f"the journal {path} is in a file system that another user serves (uid {user}), "
            "who may say anything of it",
            "pghot run writes its journals below /run, where nobody else can",
        )
    return facts.st_dev, facts.st_ino


def read_journal(path: Path) -> JournalFile:
    """Read what can be read of a journal, a line at a time: undo writes what it says to files of the kernel.

    Raises `UsageError` when that is nothing, is of another version, asks for more than any pghot could have done, or
    when others may have written it.
    """
    with held_journal(path) as journal:
        return journal


@contextlib.contextmanager
def held_journal(path: Path, at: str = "") -> Iterator[JournalFile]:
    """As `read_journal`. The file stays open meanwhile, so that no other one gets its inode number.

    at  where it is opened, if not at its path, which is for messages then
    """
    file, which = _open_own(path, at or path)
    with file:
        *_, journal = _reading(path, file, which)
        yield journal


def reading(path: Path, at: str, until: int) -> Iterator[JournalFile]:
    """As `held_journal`, for so many bytes: the journal so far, after each line."""
    file, which = _open_own(path, at)
    with file:
        yield from _reading(path, file, which, until)


def _reading(
    path: Path, file: BinaryIO, which: tuple[int, int], until: int | None = None
) -> Iterator[JournalFile]:
    begins, pages = False, 0
    journal = _journal_of(path, which, next((fact for fact in _facts(path, file) if "format" in fact), {}))
    file.seek(0)
    entries: _Entries = {}
    for number, fact in enumerate(_facts(path, file, until), 1):
        begins |= number == 1 and fact.get("kind") == "journal"
        try:
            pages += _enter(journal, entries, fact)
        except (KeyError, OverflowError, TypeError, ValueError, zlib.error):
            journal.damaged.append(number)
        if pages > MOST_PAGES:
            raise _not_ours(path, f"its lines name {pages:,} pages")
        yield journal
    if not journal.damaged and not begins:
        journal.damaged.append(1)  # the beginning is missing, and nobody knows what else
    yield journal


def _not_ours(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{path} is not a journal of pghot, which writes none like it: {why}; nothing was put back",
        "name a *.pghot-journal",
    )


def _facts(path: Path, file: BinaryIO, until: int | None = None) -> Iterator[dict[str, Any]]:
    left = MOST_LINE_BYTES if until is None else until
    while left and (line := file.readline(min(left, MOST_LINE_BYTES))):
        if len(line) == MOST_LINE_BYTES:
            raise _not_ours(path, f"it has a line of {MOST_LINE_BYTES >> 20} MiB or more")
        left -= len(line) if until is not None else 0
        yield _fact(line.decode("utf-8", "surrogateescape").removesuffix("\n"))


def _fact(line: str) -> dict[str, Any]:
    """What a line says; empty when it is damaged."""
    try:
        return unseal(line)
    except ValueError:
        return {}


def _journal_of(path: Path, file: tuple[int, int], fact: dict[str, Any]) -> JournalFile:
    """The journal that a line belongs to."""
    found = fact.get("format", FORMAT)
    if type(found) is int and found != FORMAT:
        raise UsageError(
            f"{path} has format {found}, this pghot reads {FORMAT}", "use the pghot that wrote it"
        )
    try:
        pid, start_ticks = fact["writer"]
        who = _number(pid, _MOST_PID), _number(start_ticks, _MOST_TICKS)
        return JournalFile(path, file, str(fact["boot_id"]), who, str(fact.get("pid_namespace", "")))
    except (KeyError, OverflowError, TypeError, ValueError):
        raise UsageError(
            f"{path} is not a journal of pghot, or no line of it can be read", "name a *.pghot-journal"
        ) from None


def _number(value: Any, most: int) -> int:
    """A number from 0 to before `most`. Raises `ValueError` for anything else, such as a text, 1.5 or true."""
    # Not `in range(...)`: that would try each number in turn against one that is no integer.
    if type(value) is not int or not 0 <= value < most:
        raise ValueError("no such number")
    return value


def _identity(fact: dict[str, Any]) -> Identity:
    code, stack, arguments = (_number(each, _MOST_ADDRESS) for each in fact["mm"])
    pid, start_ticks = _number(fact["pid"], _MOST_PID), _number(fact["start_ticks"], _MOST_TICKS)
    return Identity(pid, start_ticks, (code, stack, arguments))


def _file_identity(fact: dict[str, Any]) -> FileIdentity:
    bounds = (("device", _MOST_DEVICE), ("inode", _MOST_INODE), ("born_ns", _MOST_BORN_NS))
    return FileIdentity(*(_number(fact[name], most) for name, most in bounds))


def _enter(journal: JournalFile, lines: _Entries, fact: dict[str, Any]) -> int:
    """How many pages a line is about. `lines` are those of each entry of the journal."""
    if fact["kind"] == "undone":
        journal.undone = True
        return 0
    if (fact["format"], fact["boot_id"], *fact["writer"]) != (FORMAT, journal.boot_id, *journal.writer):
        raise ValueError("a line of another journal")
    match fact["kind"]:
        case "journal":
            pass
        case "knob":
            path, old, new = fact["path"], fact["old"], fact["new"]
            check_knob(path, old, new)
            journal.knobs.append((path, old, new))
        case "origins":
            identity, name = _identity(fact), str(fact["name"])
            line = line_of(fact["runs"], fact.get("shared") is True)
            if identity not in lines:
                journal.spaces.append(SpaceEntry(identity, name))
                lines[identity] = journal.spaces[-1].lines
            lines[identity].append(line)
            return line.pages
        case "file_origins":
            file, name, line = _file_identity(fact), str(fact["name"]), line_of(fact["runs"])
            if file not in lines:
                journal.files.append(FileEntry(file, name))
                lines[file] = journal.files[-1].lines
            lines[file].append(line)
            return line.pages
        case "compressed":
            journal.compressed = True
        case _:
            raise ValueError(fact["kind"])
    return 0
