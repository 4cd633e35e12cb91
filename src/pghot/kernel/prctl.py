"""prctl(2): what becomes of a process when the one that started it ends (linux/prctl.h)."""

from __future__ import annotations

import ctypes
import signal

_LIBC = ctypes.CDLL(None)  # loaded before any fork: between fork and exec nothing may be
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends. One that has ended already is missed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
