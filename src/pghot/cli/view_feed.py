"""Hands documents from the thread that collects them to the thread that draws the live view."""

from __future__ import annotations

import threading
from pathlib import Path

from pghot.daemon.client import ask_hot, ask_status
from pghot.errors import PghotError
from pghot.live.stopping import StopSignals
from pghot.report.view.history import Seen

TOP = 100  # hot regions: more than any screen has lines


class Mailbox:
    """Holds the newest documents. The reader never waits. Documents that it did not take in time are replaced."""

    def __init__(self, stop: StopSignals) -> None:
        self._stop = stop
        self._lock = threading.Lock()
        self._seen: Seen | None = None
        self._ended = False
        self.error: PghotError | None = None

    @property
    def over(self) -> bool:
        """No more documents will come, or a signal asked to stop."""
        return self._ended or self._stop.asked

    @property
    def problem(self) -> str:
        """Why there is nothing newer; empty when all is well."""
        return str(self.error) if self.error else ""

    def put(self, seen: Seen) -> None:
        """Show this next."""
        with self._lock:
            self._seen = seen
        self.error = None

    def fail(self, error: PghotError) -> None:
        """Say that nothing newer came, because of `error`."""
        self.error = error

    def end(self) -> None:
        """Say that no more documents will come."""
        self._ended = True

    def take(self) -> Seen | None:
        """The newest documents, once."""
        with self._lock:
            seen, self._seen = self._seen, None
        return seen


def ask_both(socket: Path) -> Seen:
    """The daemon's status and its hottest regions. Raises as `ask`."""
    return Seen(ask_status(socket), ask_hot(socket, TOP)["hot"])


def follow(socket: Path, mailbox: Mailbox, stop: StopSignals, every_s: float) -> None:
    """Ask the daemon repeatedly until `stop`, even when it does not answer."""
    while not stop.asked:
        try:
            mailbox.put(ask_both(socket))
        except PghotError as error:
            mailbox.fail(error)
        stop.sleep(every_s)
