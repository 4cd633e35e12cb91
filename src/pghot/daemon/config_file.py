"""The file of the daemon's configuration, read without waiting, and only where nobody else can change it.

Whoever may write to it decides what a daemon of root does, at every reload.
"""

from __future__ import annotations

import os
from pathlib import Path

from pghot.errors import UsageError
from pghot.kernel.regular_file import open_regular
from pghot.trusted import distrust

MOST_BYTES = 1 << 20
_EXAMPLE = "an example comes with pghot: pghot daemon --example"


def read_configuration(path: Path) -> str:
    """The text. Raises `UsageError` that says why it cannot be read, or is not to be believed."""
    try:
        with open(open_regular(path), "rb") as file:
            data = file.read(MOST_BYTES + 1)
            facts = os.fstat(file.fileno())
    except OSError as error:
        raise _unread(path, error.strerror or str(error)) from None
    if len(data) > MOST_BYTES:
        raise _unread(path, f"longer than {MOST_BYTES >> 20} MiB")
    _refuse_shared(path, facts)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise _unread(path, "not UTF-8 text") from None


def _unread(path: Path, why: str) -> UsageError:
    return UsageError(f"cannot read configuration '{path}': {why}", _EXAMPLE)


def _refuse_shared(path: Path, read: os.stat_result) -> None:
    try:
        reason = distrust(path)
        now = path.stat()
    except OSError as error:
        reason = f"cannot tell who may write to it: {error.strerror}"
    else:
        if not reason and (now.st_dev, now.st_ino) != (read.st_dev, read.st_ino):
            reason = "another file took its place while it was read"
    if reason:
        raise UsageError(
            f"the configuration {path} is not used: {reason}",
            "keep it where only the daemon's user and root can write, such as /etc/pghot",
        )
