"""Kernels are compiled before a live run begins, which says so: no round waits for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pghot.cli.named import Named
from pghot.live.first_use import LIVE
from pghot.live.targets import Targets
from waiting import until

# Says which kernels Numba compiled after compile_ahead, in a run on captured files of this very process.
AFTER = """
import sys
from numba.core.dispatcher import Dispatcher
from pghot.kernel.sysroot import SysRoot
from pghot.live import first_use

compiled, began = [], []
plain = Dispatcher.compile

def compile(self, signature):
    misses = sum(self.stats.cache_misses.values())
    found = plain(self, signature)
    if sum(self.stats.cache_misses.values()) > misses:
        compiled.append(self.py_func.__qualname__)
    return found

Dispatcher.compile = compile
first_use.compile_ahead(SysRoot(), began.append)
first, compiled[:] = list(compiled), []
first_use.compile_kernels()
print(began, len(first), first[-1:], compiled)
"""


@pytest.mark.heavy
def test_all_are_compiled_once_and_the_last_one_is_asked_for(tmp_path: Path) -> None:
    """`LIVE` names the last: whoever interrupts the first run finds the rest compiled by the next."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}

    def once() -> list[str]:
        command = [sys.executable, "-c", AFTER]
        return subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True
        ).stdout.split(" ", 1)

    began, rest = once()
    assert began == f"[{LIVE[2]}]"
    count, last, again = rest.split(" ")
    assert int(count) > 50
    assert (last, again) == (f"['{LIVE[1]}']", "[]\n")
    assert once() == ["[]", "0 [] []\n"]


@pytest.mark.parametrize("kept", [True, False])
def test_it_is_said_and_done_before_a_command_starts(
    kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mark, order = tmp_path / "started", []
    monkeypatch.setattr("pghot.live.first_use.compiled", lambda kernels: kept)
    monkeypatch.setattr("pghot.live.first_use.compile_kernels", lambda: order.append(mark.exists()))
    with Named(("touch", str(mark)), Targets()).targets(True):
        until(mark.exists, "the command has run")
    assert order == ([] if kept else [False])
    said = "" if kept else f"compiling kernels, once after an install: about {LIVE[2]} s ...\n"
    assert capsys.readouterr().err == said
