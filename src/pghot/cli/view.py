"""The live view on the command line: needs a terminal, shows the screen, sets the exit code."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Thread
from typing import BinaryIO

import typer

from pghot.cli.view_feed import Mailbox, ask_both, follow
from pghot.errors import UsageError
from pghot.live.stopping import StopSignals
from pghot.printable import elided, printable
from pghot.trusted import temporary_place


def require_terminal(option: str, remedy: str, stdout_too: bool = True) -> None:
    """Raise `UsageError` when there is no terminal to draw on and read keys from.

    stdout_too  stdout must be a terminal as well, as only the screen is written to it
    """
    streams = {"stdin": sys.__stdin__, "stdout": sys.__stdout__, "stderr": sys.__stderr__}
    for name, stream in streams.items():
        if (name != "stdout" or stdout_too) and not (stream and stream.isatty()):
            raise UsageError(f"{option} needs a terminal, and {name} is not one", remedy)


def interrupt() -> None:
    """Do what Ctrl-C does without the screen: send SIGINT to this process and those that it started."""
    os.killpg(os.getpgrp(), signal.SIGINT)


def watch(socket: Path, every_s: float) -> None:
    """The live view of a daemon. Raises as `ask` if the daemon does not answer at first, or did not answer last."""
    from pghot.report.view.screen import show

    with StopSignals() as stop:
        mailbox = Mailbox(stop)
        mailbox.put(ask_both(socket))
        # A daemon thread: it may be waiting for an answer when the user quits.
        Thread(target=follow, args=(socket, mailbox, stop, every_s), daemon=True).start()
        try:
            show(mailbox, interrupt)
        finally:
            stop.ask()
    if stop.signalled:
        raise typer.Exit(130)
    if mailbox.error is not None:
        raise mailbox.error


def screen(mailbox: Mailbox) -> None:
    """The live view of a run in this process."""
    from pghot.report.view.screen import show

    show(mailbox, interrupt)


@contextlib.contextmanager
def output_held(command: Sequence[str] | None) -> Iterator[BinaryIO | None]:
    """A file for the output of the command while the screen has the terminal. The end names it, unless it is empty."""
    if not command:
        yield None
        return
    number, name = tempfile.mkstemp(prefix="pghot-run-", suffix=".out", dir=temporary_place())
    with os.fdopen(number, "wb") as held:
        yield held
    if Path(name).stat().st_size:
        print(
            f"note: what {elided(printable(shlex.join(command)), 60)} printed is in {name}", file=sys.stderr
        )
    else:
        Path(name).unlink()
