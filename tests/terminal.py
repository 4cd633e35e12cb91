"""A pghot in a pseudo terminal: keys in, the screen's text out."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from waiting import until

OVERLAP = 4096  # more than a control sequence and the text looked for take
ESCAPES = re.compile(rb"\x1b\[[0-9;:?<>=]*[ -/]*[@-~]|\x1b[\]P][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.")
COLOURS = re.compile(rb"\x1b\[(?:[0-9:]*;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[0-9;:]*)?m")
ALTERNATE, BACK = b"\x1b[?1049h", b"\x1b[?1049l"


class Terminal:
    """While entered, `command` runs with this as its controlling terminal; `wrote` is all it wrote."""

    def __init__(
        self, command: Sequence[str], size: tuple[int, int] = (80, 24), env: Mapping[str, str] | None = None
    ) -> None:
        self.wrote = b""
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.before = termios.tcgetattr(self._ours)
        given = {
            key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", LEADER, *command], stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True, env={**given, "TERM": "xterm-256color", **(env or {})},
        )  # fmt: skip
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._ours)

    @property
    def text(self) -> str:
        """What was written, without control sequences."""
        return ESCAPES.sub(b"", self.wrote).decode(errors="replace")

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def until(self, wanted: str | bytes, after: int = 0) -> None:
        """Read until this text, or these bytes, were written (after so many bytes)."""
        looked = after

        def written() -> bool:
            nonlocal looked
            self.read(0.2)
            start, looked = max(after, looked - OVERLAP), len(self.wrote)
            return self._holds(wanted, start)

        until(written, f"{wanted!r} on the screen", lambda: self.text[-4000:], 0)

    def end(self) -> int:
        """The exit code, when it ends; all it wrote was read then."""

        def ended() -> bool:
            self.read(0.1)
            return self.process.poll() is not None

        until(ended, "the end of the program", lambda: self.text[-4000:], 0)
        while self.read(0):
            pass
        return self.process.returncode

    def restored(self) -> bool:
        """Whether the terminal is as it was: its modes, and the screen given back."""
        return termios.tcgetattr(self._ours) == self.before and self.wrote.rfind(BACK) > self.wrote.rfind(
            ALTERNATE
        )

    def _holds(self, wanted: str | bytes, after: int) -> bool:
        rest = self.wrote[after:]
        return (
            wanted in rest
            if isinstance(wanted, bytes)
            else wanted in ESCAPES.sub(b"", rest).decode(errors="replace")
        )

    def read(self, seconds: float) -> bytes:
        try:
            ready, _, _ = select.select([self._ours], [], [], seconds)
            new = os.read(self._ours, 1 << 16) if ready else b""
        except OSError:  # EIO: nobody has the other end open any more
            new = b""
        self.wrote += new
        return new


# Makes the terminal on stdin the controlling one, as a shell's is, before the command takes over.
LEADER = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
