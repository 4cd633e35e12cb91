"""Ctrl-C, SIGTERM and a lost terminal (SIGHUP) end a run after the current round, so that moves are counted and knobs
are put back. A second signal ends it at once."""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """While entered, the first of these signals is remembered, the second raises `KeyboardInterrupt`."""

    def __init__(self) -> None:
        # A handler must not wait for what the code holds that it interrupts. `SimpleQueue.put` never waits, while
        # `Event.set` needs the lock that `Event.wait` takes: a signal in the wrong microsecond would hang the run.
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._before: dict[int, Any] = {}
        self.asked = False
        self.signalled = False

    def ask(self) -> None:
        """End the run after the current round, as a signal would."""
        self.asked = True
        self._wake.put(None)

    def sleep(self, seconds: float) -> None:
        """Sleep, but no longer than until a signal comes. Several threads may."""
        with contextlib.suppress(queue.Empty):
            self._wake.get(timeout=seconds)
            self._wake.put(None)  # for the next sleeper

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
        if self.asked:
            raise KeyboardInterrupt
        self.signalled = True
        self.ask()
