"""The text of `perf script`: samples with an address, and DAMON's tracepoint.

    redis 9933/9936 27008.245042:  10 cpu/mem-loads/P:  7f00d1 5080021 |OP LOAD|LVL L3 hit|...  4011d0 get+0x4 (redis)
    kdamond.0 77 [001] 27009.1: damon:damon_aggregated: target_id=0 nr_regions=10 4096-8192: 3 1

Which fields there are, the user chose with -F: only the event with its colon is always there. Of the fields behind it
the address is the first, and a number too; the address of the instruction, which may stand there alone, has a symbol
behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from pghot.mem_data_src import OP_LOAD, OP_STORE
from pghot.recording.importers.importer import MOST_SPACES, Accesses, Clock, Found
from pghot.recording.importers.input import Input
from pghot.recording.importers.perf_accesses import (
    FAULTS_ONLY,
    NO_ACCESS,
    NO_ADDRESS,
    NO_SOURCES,
    OF_REGIONS,
    PerfAccesses,
)
from pghot.recording.importers.regions_as_pages import page_accesses

# Nothing repeats without a limit: a hostile line costs no more than its length.
_LINE = re.compile(
    rb"[ \t]{0,64}"
    rb"(?:(?:\S.{0,31}?[ \t]{1,64})?(?P<pid>-?\d{1,10})(?P<tid>/-?\d{1,10})?[ \t]{1,64})?"
    rb"(?:\[\d{1,6}\][ \t]{1,64})?"
    rb"(?:(?P<second>\d{1,9})\.(?P<fraction>\d{6,9}):[ \t]{1,64})?"
    rb"(?:(?P<period>\d{1,19})[ \t]{1,64})?"
    rb"(?P<event>[a-zA-Z_][^\s]{0,255}?(?: 0x[^\s]{1,40})?):[ \t]{1,64}(?=[0-9a-ft])"
)
_ADDRESS = re.compile(
    rb"(?P<address>[0-9a-f]{1,16})"
    rb"(?:[ \t]{1,64}(?P<source>[0-9a-f]{1,16}) \|OP |[ \t]{1,64}[0-9a-f]{1,16}(?=\s|$)|[ \t\r]{0,64}$)"
)
_REGION = re.compile(
    rb"target_id=(?P<target>\d{1,20}) nr_regions=\d{1,10} "
    rb"(?P<start>\d{1,19})-(?P<end>\d{1,19}): (?P<samples>\d{1,10})\b"
)
_INSTRUCTION = re.compile(rb"[ \t]{1,64}[0-9a-f]{1,16} ")  # of a call chain, below its sample
_KERNEL = "kernel"  # as a process: its addresses are everybody's


class PerfScript:
    """A sample stands for as many accesses as its period says; `perf_mem_data_src` says whether it missed the cache."""

    name: ClassVar[str] = "perf-script"
    summary: ClassVar[str] = "text of `perf script` (samples with addresses, damon:damon_aggregated)"
    clock = Clock.OWN
    slice_ns = 1_000_000
    every_access = False
    objects = False
    guessed = 1
    not_known: tuple[str, ...] = ()

    def __init__(self, source: Input) -> None:
        self._source = source
        self.found = Found()
        lines = [found for line in _lines(source.start()) if (found := _LINE.match(line))]
        if not any(line["second"] for line in lines):
            self.clock = Clock.DECLARED
        if any(b"damon_aggregated" in line["event"] for line in lines):
            self.slice_ns = 100_000_000
        self._spaces: dict[object, int] = {}
        self._accesses = PerfAccesses(self.found)
        self._threads_only = 0
        self._said: dict[str, None] = {}

    @staticmethod
    def claims(name: str, start: bytes) -> bool:
        lines = _lines(start)
        return 2 * sum(_LINE.match(line) is not None for line in lines) > len(lines)

    def accesses(self) -> Iterator[Accesses]:
        for _, text in self._source.lines():
            samples: list[tuple[int, int, int, int, int]] = []
            regions: list[tuple[int, int, int, int, int]] = []
            for line in text.split(b"\n"):
                self._take(line, samples, regions)
            if samples:
                time_ns, address, source, count, space = np.array(samples, np.uint64).T
                yield self._accesses.of_samples(
                    time_ns, address, source, source != 0, count, space.astype(np.uint16)
                )
            if regions:
                found = np.array(regions, np.uint64).T
                time_ns, start, end, count, space = found[:, self._accesses.accessed(*found[1:4])]
                yield from page_accesses(time_ns, start, end, count, space.astype(np.uint16))
        self._close()

    def _take(
        self,
        line: bytes,
        samples: list[tuple[int, int, int, int, int]],
        regions: list[tuple[int, int, int, int, int]],
    ) -> None:
        """Add what a line has: time, address, source, period and address space, or time, start, end, samples and
        target."""
        head = _LINE.match(line)
        if head is None:
            if line.strip() and not line.startswith(b"#") and not _INSTRUCTION.match(line):
                self.found.losses["lines that are no sample"] += 1
            return
        time_ns = int(head["second"]) * 10**9 + int(head["fraction"].ljust(9, b"0")) if head["second"] else 0
        if region := _REGION.match(line, head.end()):
            self._say(*OF_REGIONS)
            target = self._space(("target", int(region["target"])))
            regions.append(
                (time_ns, int(region["start"]), int(region["end"]), int(region["samples"]), target)
            )
            return
        found = _ADDRESS.match(line, head.end())
        address = int(found["address"], 16) if found else 0
        if found is None or not address:
            self.found.losses[NO_ADDRESS] += 1
            return
        source = int(found["source"] or b"0", 16)
        if found["source"] and not source & (OP_LOAD | OP_STORE):
            self.found.losses[NO_ACCESS] += 1
            return
        owner: object = _KERNEL if address >> 63 else head["tid"] and head["pid"]
        self._threads_only += owner is None and head["pid"] is not None
        if b"fault" in head["event"]:
            self._say(FAULTS_ONLY)
        elif not found["source"]:
            self._say(NO_SOURCES)
        period = min(max(int(head["period"] or 1), 1), 0xFFFF_FFFF)
        samples.append((time_ns, address, source, period, self._space(owner)))

    def _space(self, owner: object) -> int:
        number = self._spaces.setdefault(owner, len(self._spaces))
        if number >= MOST_SPACES:
            raise self._source.damaged(self._source.offset, f"more than {MOST_SPACES:,} processes")
        return number

    def _say(self, *sentences: str) -> None:
        self._said |= dict.fromkeys(sentences)

    def _close(self) -> None:
        """What is known at the end, in words."""
        self._accesses.close(iter(self._said))
        if self._threads_only:
            self.found.sentences.append(
                "processes are not told apart: the text has numbers of threads only (`perf script -F pid,tid,...`)"
            )


def _lines(start: bytes) -> list[bytes]:
    """Whole lines that are neither blank, comments nor parts of a call chain."""
    lines = start.split(b"\n")
    return [
        line
        for line in (lines[:-1] or lines)
        if line.strip() and not line.startswith(b"#") and not _INSTRUCTION.match(line)
    ]
