"""Files that users ask for, such as `-o report.html`: made new, never written through what lies under their name.

Where others may write, they may have put a link there to a file that only we can change. So an output is always a file
that we create, beside its name. It gets the name when there is something in it, with force in place of what has it.
Until then what had the name is as it was.
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


def create_beside(path: Path, private: bool = False) -> tuple[int, Path]:
    """A descriptor of a new file beside `path` to write to, and its name, which `take_name` makes `path`.

    private  a file made by root is for root alone: it tells of everyone's programs

    Raises `OSError` when the file cannot be made.
    """
    part = _beside(path)
    return create(part, private), part


def create(path: Path, private: bool = False) -> int:
    """As `create_beside`, under this name. Raises `OSError`, also when something has the name."""
    mode = 0o600 if private and os.geteuid() == 0 else 0o666
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)


def _beside(path: Path) -> Path:
    return path.with_name(f".{secrets.token_hex(8)}{path.suffix}")


def take_name(part: Path, path: Path, force: bool) -> None:
    """Give a file that is beside `path` this name. A link that has it is replaced, not followed.

    Raises `UsageError` when the name is taken by now, and `OSError`.
    """
    if force:
        # Another file, not the old one cut short: a reader may have that mapped, and would be killed.
        os.replace(part, path)
        return
    try:
        os.link(part, path, follow_symlinks=False)  # unlike rename(2) it replaces nothing
    except OSError:
        check_free(path, force)
        os.replace(part, path)  # a file system without hard links
    else:
        part.unlink()


@contextlib.contextmanager
def written_whole(path: Path, force: bool) -> Iterator[Path]:
    """A free name beside `path`, for a file that gets the name `path` at the end and is removed after an error.

    Raises `UsageError` when the name is taken and `PghotError` when the file cannot be written.
    """
    check_free(path, force)
    part = _beside(path)
    try:
        yield part
        take_name(part, path, force)
    except OSError as error:
        raise not_written(path, error) from None
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, force: bool) -> None:
    """Write a small output. Raises as `written_whole`."""
    with written_whole(path, force) as part, os.fdopen(create(part), "wb") as file:
        file.write(data)
