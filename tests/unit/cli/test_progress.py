"""Progress on stderr: how far it is, how long it took, and where it is asked for, how long it will take."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import SimpleNamespace

import pytest
from numba.core.event import Listener, trigger_event

from pghot.cli.compiling import announce
from pghot.cli.main import run
from pghot.cli.progress import progress_on_stderr
from pghot.errors import UsageError


@pytest.mark.parametrize(
    ("says_left", "lines"),
    [
        (False, ["tuning 25 %, 10 s", "tuning 50 %, 600 s", "tuning 100 %, 40000 s"]),
        # A quarter took 10 s, so the rest takes 30; half took ten minutes, so half takes ten more.
        (True, ["tuning 25 %, 10 s, 30 s left", "tuning 50 %, 600 s, 10 min left", "tuning 100 %, 40000 s"]),
    ],
)
def test_the_time_that_is_left(
    says_left: bool,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 1000.0
    monkeypatch.setattr("pghot.cli.progress.time.monotonic", lambda: now)
    show = progress_on_stderr("tuning", says_left=says_left)
    show(0, 8)  # too soon to say anything
    for done, after_s in ((2, 10), (4, 600), (8, 40_000)):
        now = 1000.0 + after_s
        show(done, 8)
        show(done, 8)  # not twice in five seconds
    assert capsys.readouterr().err.splitlines() == lines


def test_compiling_is_announced_first_and_an_error_stands_on_a_line_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bench's probe is what compiles most: here it refuses at once."""

    def refuses(*_: object) -> None:
        raise UsageError("it does not fit", "give less")

    monkeypatch.setattr("pghot.lab.compare.Bench", refuses)
    monkeypatch.setattr("pghot.cli.compiling.compiled", lambda kernels: False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run(["compare", "bundled:xz-decompress", "--policies", "numab2"]) == 2
    announced, shown = capsys.readouterr().err.split("\n", 1)
    assert announced.startswith("compiling kernels, once after an install: about ")
    assert shown == "\rreplaying   0 %\r\x1b[Kpghot: error: it does not fit\nhint: give less\n"


def first() -> None: ...
def second() -> None: ...


@pytest.mark.parametrize(
    ("terminal", "shown"),
    [
        # Numba's own functions go by the name of the kernel that calls them; at the end the line is cleared.
        (
            True,
            "\rcompiling first\x1b[K" * 3 + "\rcompiling second\x1b[K\rcompiling first\x1b[K\r\x1b[K",
        ),
        (False, "compiling second\n"),  # two seconds after the announcement, and not again in the next two
    ],
)
def test_the_kernel_that_is_compiled_is_named(
    terminal: bool, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr("pghot.cli.compiling.time.monotonic", lambda: now)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    announce(7)
    assert capsys.readouterr().err == "compiling kernels, once after an install: about 7 s ...\n"
    with compiling(first):
        now += 1.5
        with compiling(Listener.notify):
            pass
        now += 0.5
        with compiling(second):
            now += 1.5
    assert capsys.readouterr().err == shown


def compiling(function: Callable[..., object]) -> AbstractContextManager[None]:
    """What Numba tells its listeners while it compiles a function."""
    found: AbstractContextManager[None] = trigger_event(
        "numba:compile", {"dispatcher": SimpleNamespace(py_func=function)}
    )
    return found
