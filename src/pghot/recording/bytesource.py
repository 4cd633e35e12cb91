"""Where the bytes of a recording come from: a mapped local file, or a file system that pyarrow knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from pghot.errors import NotPermittedError, PghotError, UsageError


class MappedFile:
    """A local file, mapped: reading is slicing."""

    def __init__(self, path: Path) -> None:
        # Arrow cannot map an empty file.
        size = path.stat().st_size
        self._buffer = memoryview(pa.memory_map(str(path)).read_buffer()) if size else memoryview(b"")

    @property
    def size(self) -> int:
        return len(self._buffer)

    def read(self, offset: int, length: int) -> memoryview:
        return self._buffer[offset : offset + length]


class RemoteFile:
    """A file behind `pyarrow.fs`, read in the pieces that are asked for."""

    def __init__(self, file: Any, where: str) -> None:
        self._file = file
        self._where = where
        self._size = int(file.size())

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> memoryview:
        try:
            return memoryview(self._file.read_at(max(0, min(length, self._size - offset)), offset))
        except OSError as error:
            raise PghotError(
                f"cannot read {self._where}: {error}", "check the connection, try again"
            ) from None


def is_uri(path: object) -> bool:
    """Whether it names a file of a file system that is not mounted, such as `s3://bucket/file`."""
    return isinstance(path, str) and re.match(r"[a-z][a-z0-9+.-]*://", path) is not None


def open_source(path: str | Path) -> MappedFile | RemoteFile:
    """Open a path or a URI such as `s3://bucket/file`. Raises `UsageError` when there is no such file."""
    if is_uri(path):
        return _open_uri(str(path))
    return _open_path(Path(path))


def _open_path(path: Path) -> MappedFile:
    try:
        if path.is_file():
            return MappedFile(path)
        if not path.exists():
            raise UsageError(f"no recording {path}", "check the path; `pghot record` makes one")
    except PermissionError:
        raise NotPermittedError(f"may not read {path}", "ask its owner for read permission") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {error}", "check the path") from None
    raise UsageError(f"{path} is not a file", "name a recording")


def _open_uri(uri: str) -> RemoteFile:
    try:
        system, path = pafs.FileSystem.from_uri(uri)
        return RemoteFile(system.open_input_file(path), uri)
    except FileNotFoundError:
        raise UsageError(f"no recording {uri}", "check the address") from None
    except (OSError, pa.ArrowException) as error:
        first_line = (str(error).splitlines() or ["?"])[0]
        raise UsageError(f"cannot read {uri}: {first_line}", "check address and credentials") from None
