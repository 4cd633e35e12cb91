"""What the live view shows, handed from the thread that finds it to the one that draws."""

from __future__ import annotations

import threading
from pathlib import Path

from pghot.daemon.sockets import ask
from pghot.errors import PghotError
from pghot.live.stopping import StopSignals
from pghot.report.view.history import Seen

TOP = 100  # hot regions: more than any screen has lines


class Mailbox:
    """Holds the newest documents: the reader never waits, and what was not fetched in time is replaced."""

    def __init__(self, stop: StopSignals) -> None:
        self._stop = stop
        self._lock = threading.Lock()
        self._seen: Seen | None = None
        self._ended = False
        self.error: PghotError | None = None

    @property
    def over(self) -> bool:
        """Nothing comes any more, or a signal asked to end."""
        return self._ended or self._stop.asked

    @property
    def problem(self) -> str:
        """Why nothing newer comes."""
        return str(self.error) if self.error else ""

    def put(self, seen: Seen) -> None:
        """Show this next."""
        with self._lock:
            self._seen = seen
        self.error = None

    def fail(self, error: PghotError) -> None:
        """There is nothing newer, because of `error`."""
        self.error = error

    def end(self) -> None:
        """The last one was put."""
        self._ended = True

    def take(self) -> Seen | None:
        """The newest documents, once."""
        with self._lock:
            seen, self._seen = self._seen, None
        return seen


def ask_both(socket: Path) -> Seen:
    """The daemon's status and its hottest regions. Raises as `ask`."""
    status, _ = ask(socket, {"get": "status"})
    hot, _ = ask(socket, {"get": "hot", "top": TOP})
    return Seen(status, hot["hot"])


def follow(socket: Path, mailbox: Mailbox, stop: StopSignals, every_s: float) -> None:
    """Ask the daemon again and again, also when it does not answer, until `stop`."""
    while not stop.asked:
        try:
            mailbox.put(ask_both(socket))
        except PghotError as error:
            mailbox.fail(error)
        stop.sleep(every_s)
