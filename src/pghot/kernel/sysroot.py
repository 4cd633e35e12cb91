"""Where `/proc` and `/sys` are: the one place through which pghot reads and writes the kernel's files.

Tests give a captured tree instead of `/` (docs/architecture.md). Paths are written as on a live machine:
`root.read("/proc/1/stat")`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pghot.kernel.own_files import check_own
from pghot.kernel.shortage import Shortages


@dataclass(frozen=True, slots=True)
class SysRoot:
    """A tree with `proc` and `sys` below it.

    All methods raise `OSError` as the kernel reports it, but `ShortageError` when pghot is out of descriptors or the
    kernel out of memory: also those that have a default for what cannot be read.
    """

    root: Path = Path("/")
    shortages: Shortages = field(default_factory=Shortages, compare=False, repr=False)

    @property
    def live(self) -> bool:
        """True for the running kernel, False for a captured tree (system calls make no sense there)."""
        return self.root == Path("/")

    @property
    def own_pid(self) -> int | None:
        """This process, or None in a captured tree: whoever has our number there is somebody else."""
        return os.getpid() if self.live else None

    def path(self, name: str) -> Path:
        """The file behind an absolute kernel path. Raises `FileNotFoundError` for a name that no file has.

        >>> SysRoot(Path("/captured")).path("/proc/1/stat")
        PosixPath('/captured/proc/1/stat')
        """
        return Path(self._file(name))

    def _file(self, name: str) -> str:
        """As `path`, but without making a `Path`, which took a tenth of each round."""
        if "\0" in name:
            raise FileNotFoundError(errno.ENOENT, "no file has a NUL in its name", name)
        return os.path.join(self.root, name.lstrip("/"))

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Around a question to the kernel: what pghot is out of is no answer to it."""
        try:
            yield
        except OSError as error:
            if shortage := self.shortages.of(error):
                raise shortage from error
            raise

    def open(self, name: str, flags: int) -> int:
        """A descriptor of the file, closed on exec."""
        with self.asking():
            return os.open(self._file(name), flags | os.O_CLOEXEC)

    def read(self, name: str) -> str:
        """The file's text without its last newline; bytes that are not UTF-8 survive as surrogates."""
        return self.read_bytes(name).decode("utf-8", "surrogateescape").removesuffix("\n")

    def read_bytes(self, name: str) -> bytes:
        """The file as it is."""
        with self.asking(), open(self._file(name), "rb", buffering=0) as file:
            return file.read()

    def read_or(self, name: str, default: str = "") -> str:
        """The file's text, or `default` when it cannot be read."""
        try:
            return self.read(name)
        except OSError:
            return default

    def write(self, name: str, text: str) -> None:
        """Write a knob with a single write(2), as kernel files expect. No part of the path may be a symbolic link, and
        on a live machine it must be the kernel's own file (`check_own`)."""
        with self.asking():
            self._write(name, text)

    def _write(self, name: str, text: str) -> None:
        *directories, last = name.strip("/").split("/")
        directory = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in directories:
                above, directory = directory, _open_in(directory, part, os.O_PATH | os.O_DIRECTORY)
                os.close(above)
            fd = _open_in(directory, last, os.O_WRONLY)
            try:
                if self.live:
                    check_own(directory, fd)
                else:
                    os.ftruncate(fd, 0)
                os.write(fd, text.encode())
            finally:
                os.close(fd)
        finally:
            os.close(directory)

    def exists(self, name: str) -> bool:
        """Whether this user can see the file: False also below a directory that may not be entered (debugfs)."""
        return os.path.exists(self._file(name))

    def writable(self, name: str) -> bool:
        """Whether this user may write the file."""
        return os.access(self._file(name), os.W_OK)

    def list(self, name: str) -> list[str]:
        """Names in a directory, sorted; empty when there is no such directory."""
        try:
            with self.asking():
                return sorted(os.listdir(self._file(name)))
        except OSError:
            return []

    def inodes(self, name: str) -> dict[str, int]:
        """Names in a directory, each with its inode number."""
        with self.asking(), os.scandir(self._file(name)) as entries:
            return {entry.name: entry.inode() for entry in entries}

    def osrelease(self) -> str:
        """The kernel's release as `uname -r` prints it, "" when it cannot be read."""
        return self.read_or("/proc/sys/kernel/osrelease")

    def boot_id(self) -> str:
        """A text that differs with every boot, "" when it cannot be read."""
        return self.read_or("/proc/sys/kernel/random/boot_id")

    def release(self) -> tuple[int, int]:
        """Major and minor version of the kernel, (0, 0) when it is not known.

        >>> SysRoot(Path("/no/such/tree")).release()
        (0, 0)
        """
        match = re.match(r"(\d+)\.(\d+)", self.osrelease())
        return (int(match[1]), int(match[2])) if match else (0, 0)


def _open_in(directory: int, name: str, flags: int) -> int:
    """Open an entry of a directory, unless it is a link."""
    return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
