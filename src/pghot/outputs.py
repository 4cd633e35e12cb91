"""Files that users ask for, such as `-o report.html`: made new, never written through what lies under their name.

Where others may write, they may have put a link there to a file that only we can change. So an output is always a file
that we create. With force it takes the place of what has its name.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from pghot.errors import UsageError, not_written


def check_free(path: Path, force: bool) -> None:
    """Raise `UsageError` if something has the name that must not be replaced."""
    if not os.path.lexists(path):
        return
    mode = path.lstat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise UsageError(f"{path} is not a regular file", "an output needs one: name another")
    if not force:
        raise UsageError(f"will not overwrite {path}", "use --force, or name another file")


def create(path: Path, force: bool = False, private: bool = False) -> int:
    """A descriptor of a new file to write to.

    private  a file made by root is for root alone: it tells of everyone's programs

    Raises `UsageError` when the name is taken and `OSError` when the file cannot be made.
    """
    check_free(path, force)
    if force:
        # Not cut short: a reader may have it mapped, and would be killed.
        path.unlink(missing_ok=True)
    mode = 0o600 if private and os.geteuid() == 0 else 0o666
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise UsageError(f"will not overwrite {path}", "use --force, or name another file") from None


@contextlib.contextmanager
def written_whole(path: Path, force: bool) -> Iterator[Path]:
    """A free name beside `path`, for a file that gets the name `path` at the end and is removed after an error.

    Raises `UsageError` when the name is taken and `PghotError` when the file cannot be written.
    """
    check_free(path, force)
    part = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        raise not_written(path, error) from None
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, force: bool) -> None:
    """Write a small output. Raises as `written_whole`."""
    with written_whole(path, force) as part, os.fdopen(create(part), "wb") as file:
        file.write(data)
