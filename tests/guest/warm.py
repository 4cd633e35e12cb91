"""Import and compile what `pghot run` needs: out here, where it is fast, for the guest, and inside before the tests.

Run with NUMBA_CPU_NAME=generic, which is what the guest's CPU can do too.
"""

from __future__ import annotations

import contextlib
import os
from importlib import import_module
from pkgutil import walk_packages

import numpy as np

import pghot
from pghot.cli.main import run
from pghot.engine.accesses import Accesses
from pghot.kernel.damon_decode import decode
from pghot.kernel.damon_records import FIELDS
from pghot.kernel.maps import MappingKind
from pghot.kernel.perf_decode import decode_samples
from pghot.kernel.perf_event import SAMPLE_ADDR
from pghot.kernel.perf_records import Samples, words_of
from pghot.kernel.sysroot import SysRoot
from pghot.live.hot import hottest
from pghot.live.loop import world_of
from pghot.live.machine.fault_latency import FaultLatency
from pghot.live.machine.linux import LinuxMachine
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.machine.nodes import read_nodes
from pghot.live.machine.spaces import Spaces
from pghot.live.sources.faults import Faults
from pghot.policies import LIVE_POLICIES
from pghot.policies.below_top import below_top, others
from pghot.recording.checks import check_batch
from pghot.recording.tally import mark_touched
from pghot.recording.trace import SliceBatch

ROOMS = ("kernel", "live", "daemon")


def main() -> None:
    """All modules that commands of the live side import, the engine, the machine and the policies on pages of this very
    process, and a command that ends early."""
    modules()
    kernels()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        # There is no process 0; a kernel without hint faults says that first.
        assert run(["run", "--apply", "-p", "0"]) in (2, 3)


def modules() -> None:
    """Each command that is forked from here would otherwise read what it imports late over 9p."""
    for each in walk_packages(pghot.__path__, "pghot."):
        if each.name.split(".")[1] in ROOMS:
            import_module(each.name)


def kernels() -> None:
    root = SysRoot()
    decode(
        np.zeros(2, np.uint32), 0, 0, np.zeros((len(FIELDS), 2), np.int64), np.zeros((len(FIELDS), 32), np.uint64),
        np.zeros(3, np.int64),
    )  # fmt: skip
    decode_samples(np.zeros(4096, np.uint8), 0, 64, words_of(SAMPLE_ADDR), Samples.sized(64))
    mark_touched(np.zeros(2, np.uint8), np.zeros(2, np.uint32))
    spaces = Spaces(root, 16)
    machine = LinuxMachine(
        root, read_nodes(root), spaces, MoverSettings(), apply=False, journal=None, now_ns=0
    )
    spaces.refresh([os.getpid()])
    list(machine.survey(spaces.spaces[0]))
    page = machine.placement.aged(int(spaces.table.in_use()[0]), 0)[0][:100]
    spaces.pages.saw(page, np.ones(len(page), np.uint32))
    hottest(spaces, 20)
    spaces.pages.placed(spaces.table.in_use())
    spaces.pages.recount(int(spaces.table.in_use()[0]))
    machine.demotion.coldest(0, 1)
    machine.tick(3 * 10**9)
    spaces.pages.set_kind(page[:1], MappingKind.SHARED)
    spaces.pages.recount(0)
    machine.migrate(page, 0, "kmigrated")
    machine.mover.count(page, machine.place[page], 0)
    spaces.table.where(page)
    space, below = np.ones(len(page), np.int64), np.ones(len(page), np.bool_)
    FaultLatency(16).counts(page, space, below, 1000)
    for name in ("pghot-default", "pghot-precise", "pghot-hashed"):
        policy = LIVE_POLICIES.make(name)
        policy.start(world_of(machine, spaces))
        machine.lower = np.ones_like(machine.lower)
        for hint_fault in (True, False):
            count = np.full(len(page), 3, np.uint32)
            accesses = Accesses(page, np.zeros(len(page), np.int16), count, 1000, hint_fault)
            policy.engine.record(Faults, accesses, machine.place, machine.lower)
        for now_ms in (2000.0, 9000.0):
            policy.engine.wake(now_ms, machine.free_pages, machine.capacity_pages, machine.high_pages, 1000)
        policy.engine.forget(page)
    below_top(machine, page)
    others(page, np.zeros(len(machine.place), np.bool_))
    spaces.refresh([])  # gives its sections back
    rows = np.zeros(0, np.uint32)
    slices = np.zeros(0, np.uint64)
    check_batch(
        SliceBatch(
            slices, slices, np.zeros(1, np.int64), rows, rows, rows, rows, rows, rows.astype(np.int16)
        ),
        1,
        1,
    )


if __name__ == "__main__":
    main()
