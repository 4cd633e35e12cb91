"""The emulated program as a child process: started, signalled, never left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pghot.kernel.prctl import end_with_parent
from pghot.recorder.build import Emulator
from pghot.recorder.record_settings import RecordSettings

_SI_KERNEL = 0x80
_WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_KILL_AFTER_S = 10.0


def command_prefix(emulator: Emulator, plugin: Path, directory: Path, settings: RecordSettings) -> list[str]:
    """qemu and its options; a program and its arguments follow. A comma in a path is doubled for qemu."""
    options = {
        "dir": str(directory).replace(",", ",,"),
        "slice": settings.slice_instructions,
        "sets": "+".join(map(str, settings.cache_sets)),
        "ways": settings.llc_ways,
        "follow": int(settings.children),
        "wait": int(settings.compressibility),
        "stacks": int(settings.stacks),
    }
    spec = ",".join([str(plugin).replace(",", ",,"), *(f"{key}={value}" for key, value in options.items())])
    return [emulator.path, "-cpu", settings.cpu, "-plugin", spec]


def start(command: list[str], mask: set[int]) -> subprocess.Popen[bytes]:
    """Start the command so that it dies with us. `mask` is the signal mask that it gets.

    On a terminal it shares our process group, or it could not read from the terminal. Otherwise it has its own.
    """

    def in_child() -> None:
        end_with_parent()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    group = None if sys.stdin is not None and sys.stdin.isatty() else 0
    return subprocess.Popen(command, preexec_fn=in_child, process_group=group)


class Signals:
    """Signals to the recorder, held back and polled, and passed on to the recorded program.

    As a context manager it blocks them in this thread and restores the former mask.
    received  the signals so far, in order
    """

    def __init__(self) -> None:
        self.received: list[signal.Signals] = []
        self.mask: set[int] = set()
        self._kill_at: float | None = None

    def __enter__(self) -> Signals:
        self.mask = set(signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED))
        return self

    def __exit__(self, *_: object) -> None:
        while signal.sigtimedwait(_WATCHED, 0) is not None:
            pass  # a late Ctrl-C must not interrupt the recording while it is being finished
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)

    def pass_on(self, pids: Callable[[], list[int]]) -> None:
        """Forward what arrived. A second signal becomes SIGTERM, a third SIGKILL.

        A Ctrl-C from the terminal has already reached the program, which is in the same process group.
        """
        while (info := signal.sigtimedwait(_WATCHED, 0)) is not None:
            self.received.append(signal.Signals(info.si_signo))
            from_terminal = info.si_code == _SI_KERNEL and sys.stdin is not None and sys.stdin.isatty()
            if len(self.received) > 1:
                self._send(pids(), signal.SIGTERM if len(self.received) == 2 else signal.SIGKILL)
            elif not from_terminal:
                self._send(pids(), signal.Signals(info.si_signo))
        if self._kill_at is not None and time.monotonic() > self._kill_at:
            self._send(pids(), signal.SIGKILL)

    def stop(self, pids: list[int]) -> None:
        """Ask the program to end, and kill it when it has not after some seconds."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + _KILL_AFTER_S
            self._send(pids, signal.SIGTERM)

    def _send(self, pids: list[int], number: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
