"""The lines of `make bench`: a figure, its bar, and what it was measured beside in the same run."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def line(monkeypatch: pytest.MonkeyPatch, **result: Any) -> str:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "run", raising=False)
    text: str = import_module("run").line(
        "recorder_xz", {"value": 2.529, "unit": "times bare QEMU", **result}
    )
    return text


def test_what_was_measured_in_one_run_stands_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    beside = {"alone": 0.53, "bare QEMU": 1.99, "pghot record": 5.12, "cachegrind": 6.971}
    assert line(monkeypatch, bar=1.5, ok=False, beside=beside) == (
        "MISSED recorder_xz: 2.529 (bar 1.5) times bare QEMU: "
        "alone 0.53 s, bare QEMU 1.99 s, pghot record 5.12 s, cachegrind 6.97 s"
    )


def test_a_bar_is_met_or_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert line(monkeypatch, bar=3.0, ok=True) == "ok     recorder_xz: 2.529 (bar 3) times bare QEMU"
    assert line(monkeypatch, bar=None, ok=True) == "       recorder_xz: 2.529 (no bar) times bare QEMU"
