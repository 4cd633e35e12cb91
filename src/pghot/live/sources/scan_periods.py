"""How often the kernel scans programs for hint faults: which threads keep to the knobs, and how to make them.

A thread's own scan period comes from the knobs only when it takes hint faults on the top tier (task_numa_placement,
kernel/sched/fair.c, Linux 6.12), and in the tiering mode alone it takes none. So a thread that ran before the knobs
were set keeps its old period, up to a minute, and whoever scans a program sets the time of its next scan. With the mode
for balancing between nodes added for a while, the threads take such faults: the kernel then brings their periods
between the knobs' values. What shows it is `total_numa_faults` in /proc/PID/task/TID/sched.

Meanwhile pghot is a second user of the memory of programs with one thread: else the scanner would pass over what they
have on the node that they run on, which is the top tier as a rule.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable

from pghot.kernel.held_mm import held_mm
from pghot.kernel.process import threads_of
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.task_sched import TaskSched, read_sched

LOOK_MS = 1000
# A round ends when all threads that run have the new period, or when the kernel has passed so often over the programs
# of the others, or after this long. The first pass marks, the second sees the faults, and one may have begun before.
PASSES = 3
ROUND_MS = 60_000
# For a kernel that does not show what a thread did.
UNSHOWN_MS = 10_000
# The next round for threads that a round did not reach: all their memory may be below the top tier.
FIRST_PAUSE_MS = 20_000
LAST_PAUSE_MS = 600_000
MOST_THREADS = 256  # of one program that are looked at
MOST_HELD = 64  # programs whose memory is held at a time; each takes a thread of ours
Thread = tuple[int, int]  # process and thread


class ScanPeriods:
    """Says when the balancing mode is needed. `tick` at each poll; `wanted` is the answer.

    unreached  threads that ran in the last round and did not get the new period

    A kernel without /proc/PID/sched shows nothing: the rounds last as long as they may.
    """

    def __init__(self, root: SysRoot) -> None:
        self._root = root
        self._threads: dict[
            Thread, TaskSched
        ] = {}  # those that do not keep to the knobs yet, with their clocks
        self._known: set[Thread] = set()
        self._held: dict[int, contextlib.ExitStack] = {}  # by process
        self._looked_ms = -LOOK_MS
        self._ends_ms = self._next_ms = 0
        self._pause_ms = FIRST_PAUSE_MS
        self.wanted = False
        self.unreached = 0

    def begin(self) -> None:
        """The knobs changed: no thread keeps to them."""
        self._known.clear()
        self._threads.clear()
        self._pause_ms, self._next_ms = FIRST_PAUSE_MS, 0

    @property
    def waiting(self) -> int:
        """Threads that do not keep to the knobs yet, as far as is known."""
        return len(self._threads)

    def tick(self, pids: Iterable[int], now_ms: int, effort: float = 1.0) -> None:
        """Look at the threads once a second, or less often at an `effort` below 1: 10,000 of them cost 25 ms."""
        if now_ms - self._looked_ms < LOOK_MS / effort:
            return
        self._looked_ms = now_ms
        alive = {thread for pid in pids for thread in self._threads_of(pid)}
        fresh = alive - self._known
        self._known = alive
        self._threads = {thread: clock for thread, clock in self._threads.items() if thread in alive}
        for thread in fresh:
            self._add(thread)
        if fresh:
            self._pause_ms, self._next_ms = FIRST_PAUSE_MS, 0
        if self.wanted:
            self._go_on(now_ms)
            self._hold()
        elif now_ms >= self._next_ms and any(map(self._ran, self._threads)):
            self.wanted = True
            for thread in list(self._threads):
                self._add(thread)
            shown = any(map(self._clock, self._threads))
            self._ends_ms = now_ms + (ROUND_MS if shown else UNSHOWN_MS)
            self._hold()

    def stop(self) -> None:
        """Let go of all memory."""
        self.wanted = False
        self._hold()

    def _go_on(self, now_ms: int) -> None:
        """Let go of the threads that keep to the knobs by now; end the round when none that runs is left."""
        for thread, before in list(self._threads.items()):
            now = self._clock(thread)
            if now is not None and now.numa_faults != before.numa_faults:
                del self._threads[thread]
        if now_ms < self._ends_ms and any(
            self._ran(thread) and not self._passed(thread) for thread in self._threads
        ):
            return
        self.wanted = False
        self.unreached = sum(map(self._ran, self._threads))
        self._next_ms = now_ms + self._pause_ms
        self._pause_ms = min(2 * self._pause_ms, LAST_PAUSE_MS)

    def _hold(self) -> None:
        """While a round lasts, the memory of programs whose only thread waits."""
        threads = Counter(pid for pid, _ in self._known if self.wanted)
        alone = [pid for pid, _ in self._threads if threads[pid] == 1][:MOST_HELD]
        for pid in self._held.keys() - alone:
            self._held.pop(pid).close()
        for pid in alone:
            if pid not in self._held:
                # Without the right to it, the threads are reached by luck: `unreached` tells.
                with contextlib.suppress(OSError), contextlib.ExitStack() as held:
                    held.enter_context(held_mm(self._root, pid))
                    self._held[pid] = held.pop_all()

    def _add(self, thread: Thread) -> None:
        self._threads[thread] = self._clock(thread) or TaskSched(0, 0.0, 0)

    def _ran(self, thread: Thread) -> bool:
        """Whether it ran since its clock was read. One that sleeps scans nothing."""
        now = self._clock(thread)
        return now is None or now.runtime_ms != self._threads[thread].runtime_ms

    def _passed(self, thread: Thread) -> bool:
        """Whether the kernel has passed over its program often enough since its clock was read."""
        now = self._clock(thread)
        return now is not None and now.scan_seq >= self._threads[thread].scan_seq + PASSES

    def _threads_of(self, pid: int) -> list[Thread]:
        return [(pid, thread) for thread in threads_of(self._root, pid)[:MOST_THREADS]]

    def _clock(self, thread: Thread) -> TaskSched | None:
        return read_sched(self._root, *thread)
