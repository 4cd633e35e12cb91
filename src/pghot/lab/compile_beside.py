"""Compile the kernels of sources and policies in a process of its own, while this one reads the trace and probes it.

Numba keeps each kernel that it has compiled in a file, and whoever needs it later only loads it. What a first
comparison compiles has two halves of about equal size: what reads and times the trace, and what watches it and moves
its pages.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from typing import cast

import numpy as np

from pghot.kernel.prctl import end_with_parent
from pghot.lab.measures import Measures
from pghot.lab.run_spec import RunSpec
from pghot.numba_cache import REPLAY, compiled
from pghot.policies.policy import Policy
from pghot.sim.lab_world import Foresight, LabWorld
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.topology import load_topology
from pghot.sim.policies import POLICIES
from pghot.sim.sources import SOURCES
from pghot.sim.sources.simulated_source import SimulatedSource, SliceView, SourceSettings
from pghot.sim.user_space.live_loop import LiveLoop

PAGES = 256
ROUNDS, ROUND_MS = 6, 1200.0  # beyond the longest sleep of kmigrated, and the ages that reclaim waits for
_fork = get_context("fork")


@contextmanager
def compiling_beside(specs: Sequence[RunSpec], workers: int) -> Iterator[Callable[[], None]]:
    """What is called to wait until the kernels of these runs are compiled. They are compiled in another process from
    now on, unless Numba has those of a replay already, or only one process may work."""
    if workers <= 1 or compiled(REPLAY):
        yield lambda: None
        return
    process = _fork.Process(target=_compile, args=(specs, os.getpid()), daemon=True)
    process.start()
    try:
        yield process.join
    finally:
        process.kill()
        process.join()


def _compile(specs: Sequence[RunSpec], parent: int) -> None:
    """In the process that was forked. A run that fails here fails again in the replay, which then says so."""
    end_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    for spec in specs:
        if POLICIES.get(spec.policy).kind == "mover":
            play_few_pages(spec)


def play_few_pages(spec: RunSpec) -> None:
    """A run on a few pages, without the program: all that its sources and its policy call is called."""
    machine = SimulatedMachine(load_topology("dram-cxl"), PAGES, 4096, np.array([PAGES // 2 + 16, PAGES]), 1)
    machine.place[:] = np.arange(PAGES) % 2
    machine.free_pages -= PAGES // 2
    settings = SourceSettings(PAGES, 4096, len(machine.free_pages))
    sources: list[SimulatedSource] = [
        SOURCES.make(name, settings, **spec.source_options.get(name, {})) for name in spec.sources
    ]
    policy: Policy[LabWorld] = POLICIES.make(spec.policy, **spec.options)
    if spec.runs_on == "user space":
        policy = LiveLoop(policy, sources)
    world = LabWorld(machine, PAGES, 4096, 1.0, 0, foresight=cast(Foresight, None))  # only oracles ask
    measures = Measures(machine)
    policy.start(world)
    page, many = np.arange(PAGES, dtype=np.uint32), np.full(PAGES, 100_000, np.uint32)
    for number in range(ROUNDS):
        measures.begin_epoch(page)
        machine.slice_ns = ROUND_MS * 1e6
        machine.now_ns += machine.slice_ns
        view = SliceView(
            page, many, many, many // 2, many // 2, np.zeros(PAGES, np.int16), machine.place, machine.lower,
            world.now_ms, machine.slice_ns, 1, PAGES,
        )  # fmt: skip
        for source in sources:
            policy.observe(world, source, source.observe(view).accesses)
        world.epoch_ended = number % 2 == 1
        policy.act(world)
        measures.end_slice()
        measures.end_epoch(page)
    measures.finish()
