"""What is ended and put back at the end of a run, in order: sources, their knobs, pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from builders.live_loop import START, FakeKernel, addresses, install, maps_line, register
from builders.machine_trees import put
from pghot.kernel.knob_files import NUMA_BALANCING
from pghot.kernel.sysroot import SysRoot
from pghot.live.journal import Journal
from pghot.live.live_settings import LiveSettings
from pghot.live.loop import Live
from pghot.live.run import Summary, end, restore
from pghot.live.targets import Targets

PID = 500


def test_sources_end_before_their_knobs_go_back_and_pages_come_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = FakeKernel(tmp_path)
    kernel.program(PID, [maps_line(START, 8)])
    kernel.populate(PID, 0, 8, 1)
    install(kernel, monkeypatch)
    source = register(monkeypatch)
    put(tmp_path, NUMA_BALANCING.lstrip("/"), "0")
    order = source.order
    write, move_pages = SysRoot.write, kernel.move_pages

    def spied_write(self: SysRoot, name: str, text: str) -> None:
        order.append(f"{name}={text}")
        write(self, name, text)

    def spied_move(*arguments: object) -> object:
        order.append("pages")
        return move_pages(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(SysRoot, "write", spied_write)
    monkeypatch.setattr("pghot.live.undo.move_pages", spied_move)
    with Journal(tmp_path / "j", kernel.root) as journal:
        settings = LiveSettings(
            Targets((PID,)),
            ("scripted",),
            apply=True,
            source_options={"scripted": {"knob": NUMA_BALANCING}},
        )
        live = Live(kernel.root, settings, journal, lambda: 10**12)
        live.start()
        kernel.move_pages(PID, addresses(0, 8), np.zeros(8, np.int32))
        summary = Summary({}, end(live, journal), False)
        restore(summary, journal, kernel.root)
    assert order == ["start", f"{NUMA_BALANCING}=2", "stop", f"{NUMA_BALANCING}=0", "pages"]
    assert summary.facts["undone"]["pages_back"] == 8
    assert summary.problems == []
    assert kernel.root.read(NUMA_BALANCING) == "0"
