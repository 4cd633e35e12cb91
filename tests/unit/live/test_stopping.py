"""How a run hears that it shall stop."""

from __future__ import annotations

import subprocess
import sys

from waiting import GUARD_S

# Raises SIGINT at the n-th bytecode of a sleep, for every n until a sleep has fewer. What hangs says nothing more.
AT_EVERY_BYTECODE = """
import signal, sys
from pghot.live.stopping import StopSignals

def interrupted(at):
    seen = 0
    def trace(frame, event, argument):
        nonlocal seen
        frame.f_trace_opcodes = True
        if event == "opcode":
            seen += 1
            if seen == at:
                signal.raise_signal(signal.SIGINT)
        return trace
    with StopSignals() as stop:
        sys.settrace(trace)
        stop.sleep(0.0)
        sys.settrace(None)
    return seen >= at, stop

at = 1
while True:
    reached, stop = interrupted(at)
    if not reached:
        break
    assert stop.asked and stop.signalled
    print(at, flush=True)
    at += 1
"""


def test_a_signal_in_any_moment_of_a_sleep_is_heard() -> None:
    command = [sys.executable, "-c", AT_EVERY_BYTECODE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=GUARD_S)
    assert done.returncode == 0, done.stderr
    heard = [int(line) for line in done.stdout.split()]
    assert heard == list(range(1, len(heard) + 1))
    assert len(heard) > 10
