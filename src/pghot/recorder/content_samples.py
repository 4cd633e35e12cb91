"""Samples of what the recorded programs' pages hold, read through `/proc/PID/mem` of the emulating processes.

There a page of the program is at its address plus qemu's guest base, which the plugin sends. At the program's end,
and before an exec, the plugin waits until the last round has been taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pghot.arrays import U32, U64
from pghot.kernel.process_memory import read_pages
from pghot.kernel.sysroot import SysRoot
from pghot.recorder.timeline import Process, Timeline
from pghot.recording.page_contents import measure
from pghot.recording.sampler import PageSampler
from pghot.recording.writer import RecordingWriter


class ContentSamples:
    """Writes rounds of samples into the recording, of pages that the timeline has seen touched."""

    def __init__(self, timeline: Timeline, writer: RecordingWriter) -> None:
        self._timeline, self._writer = timeline, writer
        self._sampler = PageSampler()
        self._root = SysRoot()

    def take_when_due(self, processes: Sequence[Process], elapsed_s: float) -> None:
        """Take a round over these processes when one is due."""
        if self._sampler.due(elapsed_s):
            self.take(processes)

    def take(self, processes: Sequence[Process]) -> None:
        """Take a round now. Every touched page of these processes is equally likely to be read."""
        present = [process for process in processes if not process.leaving]
        pages = [self._timeline.touched(process) for process in present]
        bounds = np.cumsum([0, *(len(page) for page, _ in pages)])
        drawn = self._sampler.draw(int(bounds[-1]))
        for at, (process, (page, address)) in enumerate(zip(present, pages, strict=True)):
            mine = drawn[(drawn >= bounds[at]) & (drawn < bounds[at + 1])] - bounds[at]
            self._read(process.pid, page[mine], address[mine])

    def _read(self, pid: int, page: U32, address: U64) -> None:
        places, contents = read_pages(self._root, pid, address)
        self._writer.add_samples(measure(page[places], self._timeline.now_ns, contents))
