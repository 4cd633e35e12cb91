"""`pghot run --view`: the live loop runs in a thread. The screen has the main thread, for the terminal and signals."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from pghot.cli.view_feed import TOP, Mailbox
from pghot.kernel.sysroot import SysRoot
from pghot.live.hot import hottest
from pghot.live.live_settings import LiveSettings
from pghot.live.loop import Live
from pghot.live.run import RunSettings, Say, Summary, run_live
from pghot.live.status import status
from pghot.live.stopping import StopSignals
from pghot.report.view.history import Seen

EVERY_S = 1.0


def run_viewed(
    root: SysRoot, settings: LiveSettings, run: RunSettings, screen: Callable[[Mailbox], object]
) -> Summary:
    """As `run_live`. `screen` shows the mailbox until the run is over, or until the user leaves, which ends the run.

    Raises what `run_live` raises, and what `screen` raises after the run has ended.
    """
    with StopSignals() as stop, ThreadPoolExecutor(1, "pghot-run") as pool:
        mailbox = Mailbox(stop)
        summary = pool.submit(_run_and_end, root, settings, run, mailbox, stop)
        try:
            screen(mailbox)
        finally:
            stop.ask()
        return summary.result()


def _run_and_end(
    root: SysRoot, settings: LiveSettings, run: RunSettings, mailbox: Mailbox, stop: StopSignals
) -> Summary:
    try:
        return run_live(root, settings, run, into(mailbox), stop)
    finally:
        mailbox.end()


def into(mailbox: Mailbox, now_s: Callable[[], float] = time.monotonic) -> Say:
    """Between two rounds, once a second, puts a new document into the mailbox."""
    next_s = now_s()

    def say(live: Live) -> None:
        nonlocal next_s
        if now_s() < next_s:
            return
        mailbox.put(Seen(status(live), hottest(live.spaces, TOP).rows()))
        next_s = now_s() + EVERY_S

    return say
