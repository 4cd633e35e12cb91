"""The replay loop: one trace, several runs side by side, each on a machine of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pghot.errors import PghotError
from pghot.lab.decision_log.run_log import RunLog
from pghot.lab.epochs import Epochs, hot_sets
from pghot.lab.future import Future
from pghot.lab.measures import Measures
from pghot.lab.regions_on_top import RegionsOnTop
from pghot.lab.schedule import Schedule
from pghot.policies.policy import Policy
from pghot.recording.trace import SliceBatch
from pghot.sim.lab_world import LabWorld
from pghot.sim.machine.simulated import SimulatedMachine
from pghot.sim.machine.touch import Rows
from pghot.sim.sources.simulated_source import SimulatedSource, SliceView
from pghot.sim.user_space.live_loop import LiveLoop
from pghot.sim.user_space.user_space_machine import THREAD
from pghot.units import format_duration

# Sources and stores count the program's milliseconds in 31 bits.
MOST_MS = (1 << 31) - 1


@dataclass(slots=True)
class Run:
    """One policy with its sources on its machine.

    log  also hears what the program did and what the sources saw; None: nobody asked for it
    """

    policy: Policy[LabWorld]
    sources: list[SimulatedSource]
    world: LabWorld
    measures: Measures
    future: Future
    regions: RegionsOnTop
    log: RunLog | None = None
    view: SliceView = field(init=False)

    def __post_init__(self) -> None:
        machine, none = self.world.machine, np.empty(0, np.uint32)
        self.view = SliceView(
            page=none,
            touches=none,
            misses=none,
            sequential=none,
            writes=none,
            node=np.empty(0, np.int16),
            place=machine.place,
            lower=machine.lower,
            now_ms=0.0,
            dt_ns=0.0,
            threads=machine.threads,
            instructions=0,
        )
        self.policy.start(self.world)

    def play(self, rows: Rows, instructions: int, epoch_ends: bool) -> None:
        """Run one slice: the program, then the sources, then the policy."""
        world, view, machine = self.world, self.view, self.world.machine
        view.page, view.touches, view.misses, view.sequential, view.writes, view.node = rows
        view.dt_ns = machine.run_slice(*rows, instructions)
        if (kept := machine.living(view.page)) is not None:
            view.keep(kept)
        if self.log is not None:
            self.log.used(view.page, view.touches, view.misses)
        view.instructions, view.now_ms = instructions, world.now_ms
        if view.now_ms > MOST_MS:
            raise PghotError(
                f"the program would take more than {MOST_MS / 86_400_000:.0f} days, of which a slice has "
                f"{format_duration(view.dt_ns)}",
                "look at the instructions of the recording and the latencies of the tiers",
            )
        for number, source in enumerate(self.sources):
            thread = THREAD if isinstance(self.policy, LiveLoop) else source.name
            view.busy = machine.thread(thread).free_at_ns > machine.now_ns
            report = source.observe(view)
            if report.app_ns or report.kernel_ns:
                machine.charge_tracking(report.app_ns, report.kernel_ns, thread)
            for node, moved_bytes in report.traffic.items():
                machine.occupy(node, moved_bytes)
            if len(report.accesses):
                if self.log is not None:
                    self.log.sighted(number, report.accesses)
                self.policy.observe(world, source, report.accesses)
        world.epoch_ended = epoch_ends
        self.policy.act(world)
        self.measures.end_slice()


def rows_of(batch: SliceBatch, index: int) -> Rows:
    """The rows of one slice."""
    rows = slice(batch.offsets[index], batch.offsets[index + 1])
    return Rows(
        batch.page[rows], batch.touches[rows], batch.misses[rows],
        batch.sequential[rows], batch.writes[rows], batch.node[rows],
    )  # fmt: skip


def replay(
    runs: list[Run], epochs: Epochs, schedule: Schedule, hot_pages: int, progress: Callable[[float], None]
) -> None:
    """Play the schedule over all runs in lockstep; calls `progress` with the share that is done.

    hot_pages  the most pages that a hot set has
    """
    hot = hot_sets(epochs.epochs, hot_pages)
    for step in schedule.steps():
        number = step.epoch
        if step.begins:
            for run in runs:
                run.future.position = number
                run.measures.begin_epoch(hot[number % len(hot)])
        batch = step.batch
        for index in range(batch.slices):
            rows, instructions = rows_of(batch, index), int(batch.instructions[index])
            ends = step.ends and index == batch.slices - 1
            for run in runs:
                run.play(rows, instructions, ends)
        if step.ends:
            for run in runs:
                run.measures.end_epoch(hot[number % len(hot)])
                run.regions.end_epoch(number, epochs.epochs[number % len(hot)])
            progress((number + 1) / schedule.epochs)
    for run in runs:
        run.measures.finish()


def new_run(
    policy: Policy[LabWorld],
    sources: list[SimulatedSource],
    world: LabWorld,
    future: Future,
    place: Callable[[SimulatedMachine], None],
    regions: RegionsOnTop,
    log: RunLog | None = None,
) -> Run:
    """A run whose machine first gets the initial placement `place`, which the policy may override."""
    place(world.machine)
    return Run(policy, sources, world, Measures(world.machine), future, regions, log)
