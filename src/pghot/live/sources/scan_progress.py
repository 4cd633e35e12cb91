"""Whether the kernel goes on scanning the programs for hint faults: `mm->numa_scan_seq` counts its passes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pghot.kernel.process import read_stat, resident_bytes
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.task_sched import read_sched

LOOK_MS = 5000
MOST_LOOKS = 64  # programs at a time; the others have their turn at the next
STALLED_MS = 30_000  # and three passes over its memory at the fastest
_PASSES = 3
_RUNS_TICKS = 100  # that a program must have run meanwhile, to be scanned at all


@dataclass(slots=True)
class _Pass:
    """The last pass that was noticed: its number, when that was, and the program's CPU time then."""

    number: int
    noticed_ms: int
    cpu_ticks: int


class ScanProgress:
    """Notices programs that run and are not scanned. `tick` at each poll.

    step_bytes, step_ms  the kernel marks so much of a program every so often at best
    """

    def __init__(self, root: SysRoot) -> None:
        self._root = root
        self._passes: dict[int, _Pass] = {}
        self._stalled: dict[int, int] = {}
        self._looked_ms = -LOOK_MS
        self._turn = 0

    def tick(self, pids: Iterable[int], now_ms: int, step_bytes: int, step_ms: float) -> bool:
        """Whether another program has stalled."""
        if now_ms - self._looked_ms < LOOK_MS:
            return False
        self._looked_ms = now_ms
        every, before = tuple(pids), set(self._stalled)
        self._passes = {pid: known for pid, known in self._passes.items() if pid in every}
        self._stalled = {pid: since for pid, since in self._stalled.items() if pid in every}
        self._turn = self._turn % max(1, len(every))
        for pid in (every[self._turn :] + every[: self._turn])[:MOST_LOOKS]:
            self._look(pid, now_ms, step_bytes, step_ms)
        self._turn += MOST_LOOKS
        return not self._stalled.keys() <= before

    def stalled(self) -> dict[int, int]:
        """Process ids of the programs that run and are not scanned, and since when (ms)."""
        return dict(self._stalled)

    def _look(self, pid: int, now_ms: int, step_bytes: int, step_ms: float) -> None:
        found = read_sched(self._root, pid, pid)
        try:
            cpu_ticks = read_stat(self._root, pid).cpu_ticks
        except OSError:
            return  # it ended; the next refresh notices
        if found is None:
            return  # this kernel does not show it
        known = self._passes.get(pid)
        if known is None or known.number != found.scan_seq:
            self._passes[pid] = _Pass(found.scan_seq, now_ms, cpu_ticks)
            self._stalled.pop(pid, None)
            return
        pass_ms = resident_bytes(self._root, pid) / step_bytes * step_ms
        ran = cpu_ticks - known.cpu_ticks >= _RUNS_TICKS
        if ran and now_ms - known.noticed_ms >= STALLED_MS + _PASSES * pass_ms:
            self._stalled.setdefault(pid, known.noticed_ms)
