"""Asking the kernel what it walks the page tables of a program for.

A program's own calls or khugepaged change some things without a trace in its maps: the policies of its memory, and
whether it has large folios. The kernel has no other answer than /proc/PID/numa_maps and smaps_rollup, and walks every
resident page for it, 12 s for a TiB of 4 KiB pages. So a large program is asked in a thread beside the loop, one
program at a time. A read of these files cannot be interrupted: when pghot ends meanwhile, everything is put back at
once, but the process itself is gone only when the read returns.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

from pghot.kernel.folios import has_large_folios
from pghot.kernel.mempolicy import Policies, read_policies
from pghot.kernel.process import Identity, resident_bytes
from pghot.kernel.shortage import ShortageError
from pghot.kernel.sysroot import SysRoot

# numa_maps takes 12 ms and smaps_rollup 11 ms for each GiB of 4 KiB pages, 0.3 ms of huge ones (Linux 6.18).
WALK_S_PER_BYTE = 0.023 / (1 << 30)
# From one refresh to the next so much, by this estimate, is asked in the loop itself: half of a round of 100 ms.
AT_ONCE_S = 0.05
AGAIN_S = 1.0  # the thread waits so long when it is out of descriptors


@dataclass(frozen=True, slots=True)
class Told:
    """What the kernel said of a program.

    large_folios  None: it was not asked for
    took_s        seconds
    """

    identity: Identity
    policies: Policies
    large_folios: bool | None
    took_s: float


class Asking:
    """Asks at once where that is cheap, else in its thread, of which `told` has the answers."""

    def __init__(self, root: SysRoot) -> None:
        self._root = root
        self._at_once_s = AT_ONCE_S
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Identity, bool]] = deque()
        self._told: list[Told] = []
        self._busy = False
        self._stopped = threading.Event()

    def begin_refresh(self) -> None:
        """The next refresh may ask anew."""
        self._at_once_s = AT_ONCE_S

    def at_once(self, pid: int) -> bool:
        """Whether one more program may be asked in the loop; it is taken to be."""
        cost_s = resident_bytes(self._root, pid) * WALK_S_PER_BYTE
        if cost_s > self._at_once_s:
            return False
        self._at_once_s -= cost_s
        return True

    def ask(self, identity: Identity, folios: bool) -> Told:
        """Now. Of a program that has ended nothing is told, which reads as no policies. Raises `ShortageError`."""
        began = time.perf_counter()
        policies = read_policies(self._root, identity.pid)
        large = has_large_folios(self._root, identity.pid) if folios else None
        return Told(identity, policies, large, time.perf_counter() - began)

    def ask_beside(self, identity: Identity, folios: bool) -> None:
        """In the thread, after those that wait already. Raises `ShortageError` when there can be no thread."""
        with self._lock:
            if not self._busy:
                thread = threading.Thread(target=self._work, daemon=True, name="asks for policies")
                self._root.shortages.start(thread)
                self._busy = True
            self._waiting.append((identity, folios))

    def told(self) -> list[Told]:
        """The answers of the thread since the last call."""
        with self._lock:
            told, self._told = self._told, []
        return told

    @property
    def busy(self) -> bool:
        """Whether the thread is asking."""
        return self._busy

    def stop(self) -> None:
        """The thread ends after the program that it is asking. Does not wait for it."""
        self._stopped.set()
        with self._lock:
            self._waiting.clear()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._busy = False
                    return
                identity, folios = self._waiting.popleft()
            try:
                told = self.ask(identity, folios)
            except ShortageError:
                if not self._stopped.wait(AGAIN_S):
                    with self._lock:
                        self._waiting.append((identity, folios))
                continue
            with self._lock:
                self._told.append(told)
