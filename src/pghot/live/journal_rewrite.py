"""A journal written anew beside itself, a bounded step at a time: without what is of ended programs, each page once.

The old file is whole, and the one that `undo` finds, until rename(2) gives its name to the new one. What is written
meanwhile goes to the old one and is copied last. So a kill at any moment loses nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pghot.errors import PghotError
from pghot.kernel.process import descriptor_path, ended
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import FileIdentity
from pghot.live.journal_file import Entry, FileEntry, JournalFile, reading
from pghot.live.journal_lines import Whose, append, append_line, origins_facts
from pghot.live.journal_merge import merged
from pghot.live.journal_place import Place
from pghot.live.mapped_files import finding_mapped

_COPY_BYTES = 1 << 20
Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A descriptor of the new file, which has the name now, and its bytes about each program and file."""

    fd: int
    bytes_of: dict[Whose, int]


def rewritten(
    root: SysRoot, place: Place, fd: int, head: Sequence[Facts], session: Facts
) -> Generator[None, None, Rewritten]:
    """Write the journal at `place`, which `fd` appends to, anew. It yields after each step.

    head     the lines that are not about pages
    session  what each line says beside its own

    Raises `OSError` or `PghotError` when that cannot be; the old file stays then, as it does when this is closed.
    """
    path, own = place.path, descriptor_path(fd)
    head, until = list(head), os.fstat(fd).st_size
    for journal in reading(path, own, until):  # noqa: B007
        yield
    if journal.damaged:
        raise PghotError(f"the journal {path} is damaged", "see that only pghot writes to it")
    out = place.create_new()
    done, bytes_of = False, dict[Whose, int]()
    try:
        for facts in head:
            append_line(out, path, {**facts, **session})
        for entry in _living(root, journal):
            if entry is None:
                yield
                continue
            for line in merged(entry.lines):
                if line is not None:
                    facts = origins_facts(entry.identity, entry.name, line.packed, line.shared)
                    written = append_line(out, path, {**facts, **session})
                    bytes_of[entry.identity] = bytes_of.get(entry.identity, 0) + written
                yield
        os.fsync(out)
        yield
        yield from _copy_rest(path, own, out, until)
        os.fsync(out)
        if not place.names(fd) or not place.replace(out):
            raise PghotError(f"another file took the name of the journal {path}", "leave it to pghot")
        done = True
    finally:
        if not done:
            os.close(out)
            with contextlib.suppress(OSError):
                place.new.unlink()
    return Rewritten(out, bytes_of)


def _living(root: SysRoot, journal: JournalFile) -> Iterator[Entry[Any] | None]:
    """What undo could still put back; None after each step."""
    for entry in journal.spaces:
        yield None if ended(root, entry.identity) else entry
    mapped: set[FileIdentity] = set()
    for found in finding_mapped(root, [file.identity for file in journal.files]):
        mapped |= found.keys()
        yield None
    for file in journal.files:
        if file.identity in mapped or _has_name(root, file):
            yield file


def _has_name(root: SysRoot, entry: FileEntry) -> bool:
    """Whether a file still has its name, so that it may be mapped again: a database that is started anew."""
    try:
        return entry.name.startswith("/") and os.stat(root.path(entry.name)).st_ino == entry.identity.inode
    except OSError:
        return False


def _copy_rest(path: Path, own: str, out: int, begin: int) -> Iterator[None]:
    """Copy the lines from `begin` on; none is left when it ends, which is right after a step."""
    with open(own, "rb") as file:
        file.seek(begin)
        while lines := file.readlines(_COPY_BYTES):
            append(out, path, b"".join(lines))
            if sum(map(len, lines)) >= _COPY_BYTES:
                yield
