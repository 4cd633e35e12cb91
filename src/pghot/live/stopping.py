"""Ctrl-C, SIGTERM and a lost terminal (SIGHUP) end a run after the current round, so that moves are counted and knobs
are put back. A second signal ends it at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """While entered, the first of these signals is remembered, the second raises `KeyboardInterrupt`."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._before: dict[int, Any] = {}
        self.signalled = False

    @property
    def asked(self) -> bool:
        return self._event.is_set()

    def ask(self) -> None:
        """End the run after the current round, as a signal would."""
        self._event.set()

    def sleep(self, seconds: float) -> None:
        """Sleep, but no longer than until a signal comes."""
        self._event.wait(seconds)

    def __enter__(self) -> Self:
        # Only the main thread gets signals. A run in another thread is ended by whoever started it.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                # nohup(1) ignores SIGHUP on purpose.
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._on)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on(self, number: int, frame: FrameType | None) -> None:
        if self._event.is_set():
            raise KeyboardInterrupt
        self.signalled = True
        self._event.set()
