"""Where a journal is: its name in a directory that is held open.

Whoever owns the directory may move it, or lay a link to another one under its name. What is made, renamed and removed
here stays in the directory that was opened.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from pghot.errors import UsageError
from pghot.kernel.process import descriptor_path
from pghot.trusted import distrust, make_directory


@dataclass(frozen=True, slots=True)
class Place:
    """A journal's name.

    path       as the user wrote it, for messages
    directory  a descriptor of its directory
    """

    path: Path
    directory: int

    @classmethod
    def hold(cls, path: Path) -> Place:
        """Open the directory, which is made if needed. Raises `OSError`.

        Raises `UsageError` when it is elsewhere than its path says, and others can change the way: they may lead us to
        what is ours.
        """
        make_directory(path.parent, 0o755)
        fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # Asked after it was opened: a link that was followed shows in the name, whatever has become of it since.
        where = os.readlink(descriptor_path(fd))
        if where != os.path.normpath(path.parent.absolute()) and (
            reason := distrust(path.parent, within=True)
        ):
            os.close(fd)
            raise UsageError(
                f"the way to the journal {path} leads to {where}, and others can change it: {reason}",
                f"if that is meant, name it: --journal {where}/{path.name}",
            )
        return cls(path, fd)

    @property
    def at(self) -> Path:
        """The journal, found through the open directory."""
        return Path(descriptor_path(self.directory), self.path.name)

    @property
    def new(self) -> Path:
        """The file that takes its place later. A killed pghot may leave it; whoever writes the journal next removes
        it."""
        return self.at.with_name(self.path.name + ".new")

    def create(self) -> int:
        """A descriptor of an empty file of that name, which only its owner can read. Raises `OSError`."""
        return _create(self.at)

    def create_new(self) -> int:
        """As `create`, of `new`. One that was left is removed."""
        self.new.unlink(missing_ok=True)
        return _create(self.new)

    def names(self, fd: int) -> bool:
        """Whether the name still leads to this open file."""
        return _leads(self.at, fd)

    def replace(self, fd: int) -> bool:
        """Give the name to `new`, if that is this open file; whether it is. Raises `OSError`."""
        if not _leads(self.new, fd):
            return False
        os.rename(self.new, self.at)
        return self.names(fd)

    def remove(self, fd: int) -> None:
        """Remove the name, if it leads to this open file."""
        if self.names(fd):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.at)

    def let_go(self) -> None:
        """Close the directory. Nothing else may be called afterwards."""
        os.close(self.directory)


def _create(at: Path) -> int:
    return os.open(at, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _leads(at: Path, fd: int) -> bool:
    try:
        found, opened = os.stat(at, follow_symlinks=False), os.fstat(fd)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)
