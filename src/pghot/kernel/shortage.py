"""What pghot itself can be out of: descriptors, the kernel's memory, threads.

The kernel answers EMFILE, ENFILE or ENOMEM to a question about a program. That says nothing about the program, which
may run on. So it is no `OSError` here: whoever takes one for the end of a program must not take this for it.
"""

from __future__ import annotations

import errno
import resource
import threading
from dataclasses import dataclass

from pghot.errors import PghotError

HOLD_MS = 10_000  # a shortage that comes and goes is one


class ShortageError(PghotError):
    """pghot is out of something, so that nothing is known of what it asked about. It may ask again later."""


@dataclass(slots=True)
class Shortages:
    """What was lacking while a `SysRoot` was read.

    count  how often, since the start
    words  what was lacking last, and what to do
    """

    count: int = 0
    words: str = ""
    _looked_at: int = 0
    _until_ms: int = -1

    def of(self, error: OSError) -> ShortageError | None:
        """The shortage that this error of the kernel's is, noted; None for every other error."""
        found = _explain(error.errno)
        return None if found is None else self._noted(found)

    def start(self, thread: threading.Thread) -> None:
        """Start a thread of ours. Raises `ShortageError` when there can be no more of them."""
        try:
            thread.start()
        except RuntimeError:
            raise self._noted(
                ShortageError("pghot may have no more threads", "raise TasksMax= of its unit, or `ulimit -u`")
            ) from None

    def _noted(self, found: ShortageError) -> ShortageError:
        self.count += 1
        self.words = f"{found}; {found.hint}"
        return found

    def lasting(self, now_ms: int) -> str:
        """`words` until ten seconds have passed without a shortage, then "". Ask once a second."""
        if self.count != self._looked_at:
            self._looked_at, self._until_ms = self.count, now_ms + HOLD_MS
        return self.words if now_ms < self._until_ms else ""


def _explain(number: int | None) -> ShortageError | None:
    if number == errno.EMFILE:
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return ShortageError(
            f"pghot may not open more than {most} files at once, and has so many open",
            "raise LimitNOFILE= of its unit, or `ulimit -n`",
        )
    if number == errno.ENFILE:
        return ShortageError(
            "all programs together have as many files open as the machine allows",
            "raise fs.file-max, or end what holds them",
        )
    if number == errno.ENOMEM:
        return ShortageError("the kernel has no memory for what pghot asks it", "free memory")
    return None
