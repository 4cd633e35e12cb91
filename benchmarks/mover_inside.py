"""Runs inside the guest: pages/s of `LinuxMachine.migrate` beside a bare move_pages loop, by turns."""

from __future__ import annotations

import json
import mmap
import os
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

from pghot.kernel.move_pages import move_pages
from pghot.kernel.sysroot import SysRoot
from pghot.live.journal import Journal
from pghot.live.machine.linux import LinuxMachine
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.machine.nodes import read_nodes
from pghot.live.machine.spaces import Spaces

PAGES = 16384
BATCH = 512
RUNS = 21


def main(out: Path) -> None:
    memory = mmap.mmap(-1, PAGES * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    array = np.frombuffer(memory, np.uint8)
    array[::4096] = 1
    address = np.uint64(array.ctypes.data) + np.arange(PAGES, dtype=np.uint64) * np.uint64(4096)
    root, pid = SysRoot(), os.getpid()
    spaces = Spaces(root, 64)
    spaces.refresh([pid])
    with Journal(out.with_suffix(".pghot-journal"), root) as journal:
        settings = MoverSettings(rate_limit_mb_s=1e6, batch_pages=BATCH)
        now_ns = time.monotonic_ns()
        machine = LinuxMachine(
            root, read_nodes(root), spaces, settings, apply=True, journal=journal, now_ns=now_ns
        )
        list(machine.survey(spaces.spaces[0]))
        page, _ = spaces.lookup(np.full(PAGES, pid, np.int32), address)
        ours, bare = [], []
        for _ in range(RUNS):
            machine.tick(time.monotonic_ns())
            for seconds, way in ((bare, bare_loop), (ours, mover)):
                way(machine, page, pid, address, 1)
                seconds.append(way(machine, page, pid, address, 0))
    shares = sorted(one / other for one, other in zip(bare, ours, strict=True))
    rates = {"ours": PAGES / median(ours), "bare": PAGES / median(bare)}
    out.write_text(json.dumps(rates | {"share": median(shares), "shares": shares}))


def bare_loop(machine: LinuxMachine, page: np.ndarray, pid: int, address: np.ndarray, node: int) -> float:  # type: ignore[type-arg]
    began = time.perf_counter()
    for begin in range(0, PAGES, BATCH):
        move_pages(pid, address[begin : begin + BATCH], np.full(BATCH, node, np.int32))
    seconds = time.perf_counter() - began
    machine.place[page] = node
    return seconds


def mover(machine: LinuxMachine, page: np.ndarray, pid: int, address: np.ndarray, node: int) -> float:  # type: ignore[type-arg]
    began = time.perf_counter()
    moves = machine.migrate(page, node, "bench")
    seconds = time.perf_counter() - began
    assert len(moves.moved) == PAGES, moves
    return seconds


if __name__ == "__main__":
    main(Path(sys.argv[1]))
