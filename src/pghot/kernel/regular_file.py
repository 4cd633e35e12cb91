"""Opening what must be a regular file, whatever others may have put under its name."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from pghot.kernel.process import descriptor_path


def open_regular(path: Path | str) -> int:
    """A descriptor of a regular file, to read from. Raises `OSError`, also for anything else.

    It is looked at before it is opened: opening a pipe waits for a writer, and opening a device may act.
    """
    found = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        mode = os.fstat(found).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return os.open(descriptor_path(found), os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(found)
