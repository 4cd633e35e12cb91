"""Compile the kernels of the live side before a run begins.

Each would otherwise be compiled when it is first called: in the first rounds, which then come seconds late, while a
daemon answers nobody and a program that pghot has just started runs unseen. Numba keeps what it compiled, so this
happens once after an install.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from pghot.arrays import U32
from pghot.decision_log.episode_log import EpisodeLog
from pghot.decision_log.episodes import new_state
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
from pghot.numba_cache import Kernels, compiled
from pghot.policies import LIVE_POLICIES
from pghot.policies.below_top import below_top, others
from pghot.policies.decisions import HeldBack, Moved
from pghot.policies.pghot import Pghot
from pghot.recording.checks import check_batch
from pghot.recording.tally import mark_touched
from pghot.recording.trace import SliceBatch

# The last that is compiled, and how long all take (measured on the project's machine).
LIVE: Kernels = ("pghot.recording.checks", "first_problem", 14)


def compile_ahead(root: SysRoot, say: Callable[[int], None]) -> None:
    """Compile them unless Numba has kept them; `say` is told before how many seconds it will take, about. A captured
    tree has nobody who waits."""
    if root.live and not compiled(LIVE):
        say(LIVE[2])
        compile_kernels()


def compile_kernels() -> None:
    """Call each kernel: the engine, the machine and the policies, on pages of this very process, which stay where they
    are."""
    root = SysRoot()
    decode(
        np.zeros(2, np.uint32), 0, 0, np.zeros((len(FIELDS), 2), np.int64), np.zeros((len(FIELDS), 32), np.uint64),
        np.zeros(3, np.int64),
    )  # fmt: skip
    decode_samples(np.zeros(4096, np.uint8), 0, 64, words_of(SAMPLE_ADDR), Samples.sized(64))
    mark_touched(np.zeros(2, np.uint8), np.zeros(2, np.uint32), np.ones(2, np.uint32))
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
    faults = Faults(root)
    for name in ("pghot-default", "pghot-precise", "pghot-hashed"):
        policy = LIVE_POLICIES.make(name)
        assert isinstance(policy, Pghot)
        policy.start(world_of(machine, spaces))
        machine.lower = np.ones_like(machine.lower)
        for hint_fault in (True, False):
            count = np.full(len(page), 3, np.uint32)
            accesses = Accesses(page, np.zeros(len(page), np.int16), count, 1000, hint_fault)
            policy.engine.record(faults, accesses, machine.place, machine.lower)
        for now_ms in (2000.0, 9000.0):
            policy.engine.wake(now_ms, machine.free_pages, machine.capacity_pages, machine.high_pages, 1000)
        policy.engine.forget(page)
    _log_decisions(machine, page[:4])
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


class _Unkept(EpisodeLog):
    """A log of decisions that keeps nothing."""

    _now_ms = 0

    def _put(self, rows: np.ndarray, seen: U32, movers: list[str]) -> None: ...


def _log_decisions(machine: LinuxMachine, page: U32) -> None:
    """What `run --log` calls in its rounds."""
    log = _Unkept(new_state(len(page)), 1, machine.rank)
    own, place = np.arange(len(page), dtype=np.uint32), machine.place[page]
    log.note_placed(own, place)
    log.note_seen(0, own, np.ones(len(own), np.uint32))
    log.note_asked(own, Moved.HOT, np.ones(len(own), np.int32))
    log.note_held(own, HeldBack.GATE, np.ones(len(own), np.int32))
    log.note_moved(own, place, 0, "")
    log.note_end(len(own))
