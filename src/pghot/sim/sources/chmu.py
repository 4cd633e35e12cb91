"""The hotness monitoring unit of a CXL 3.2 memory device (CHMU), simulated: one on each lower-tier node.

A hotness unit counts the misses that reach its own device. At the end of an epoch, each piece of memory whose count
exceeds the threshold is entered in the device's hot list, a ring. Entries that find the ring full are lost and counted.
At the end of an epoch in which something was hot the device raises an interrupt, and one more if its list overflowed.
A kernel thread then reads the list, which clears it. The device does not know which node made an access. Constants:
FACTS section 4.

Recordings know pages only, so a page is the unit of counting here. Devices may count units of 256 B and more. Every
node below the top tier is taken to be such a device.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pghot.arrays import NOWHERE
from pghot.carry import Carry
from pghot.engine.accesses import Accesses, Mechanism, Sees, no_accesses
from pghot.errors import UsageError
from pghot.jit import njit
from pghot.parameters import MOST_NS, check_number, shown
from pghot.sim.sources.sampling import next_unit
from pghot.sim.sources.simulated_source import Report, SliceView, SourceSettings


@njit(cache=True)
def count_misses(
    page: npt.NDArray[np.uint32],
    misses: npt.NDArray[np.uint32],
    place: npt.NDArray[np.uint8],
    lower: npt.NDArray[np.bool_],
    downsampling: int,
    rng: npt.NDArray[np.uint64],
    counts: npt.NDArray[np.uint64],
) -> None:
    """Add one in `downsampling` of the lower-tier misses to `counts` (uint64[pages], in place).

    A row's remainder is rounded up with the matching probability, so that the counts are unbiased.
    """
    for row in range(len(page)):
        p = page[row]
        node = place[p]
        if misses[row] == 0 or node == NOWHERE or not lower[node]:
            continue
        seen = np.int64(misses[row])
        if downsampling > 1:
            seen = (seen + np.int64(next_unit(rng) * downsampling)) // downsampling
        counts[p] += np.uint64(seen)


@njit(cache=True)
def fill_hot_list(
    counts: npt.NDArray[np.uint64],
    place: npt.NDArray[np.uint8],
    device: int,
    threshold: int,
    first: int,
    out_page: npt.NDArray[np.uint32],
    out_count: npt.NDArray[np.uint64],
) -> tuple[int, int, int]:
    """Enter the device's hot units in the ring (the out arrays, as long as the ring), starting at unit `first`.

    Returns (entries, units lost, unit to start from in the next epoch). The last is the first unit that was lost, so
    that an overflowing ring does not always favour the same addresses. The specification does not say how a device
    chooses.
    """
    entries = 0
    lost = 0
    resume = first
    most = np.uint64(threshold)
    for begin, end in ((first, len(place)), (0, first)):
        for p in range(begin, end):
            # Few units are hot, while many pages are on the device: the rarer condition is checked first.
            if counts[p] <= most or place[p] != device:
                continue
            if entries < len(out_page):
                out_page[entries] = p
                out_count[entries] = counts[p]
                entries += 1
            else:
                if lost == 0:
                    resume = p
                lost += 1
    return entries, lost, resume


class Chmu:
    """The CHMU source of the lab.

    epoch_ms        kernel ms (bridge default 1000); a slice that spans several epochs is judged by their mean
    threshold       a unit is hot if its count in an epoch exceeds this
    counter_bits    width of the counters, which saturate
    ring_entries    length of one device's hot list, read once in each epoch (est.; devices report their own)
    downsampling    1 of this many misses is counted, a power of two from 1 to 32768
    entry_ns        kernel-thread time to read one entry from the device's registers (uncached read, est.)
    interrupt_ns    kernel time of one interrupt, entry to exit (MSI-X, est.)
    entry_bytes     bytes that reading one entry moves over the device's link: a request and its completion (est.)

    Its counters are in the device's memory: at the end of an epoch it reads and clears those of all its pages, which
    takes bandwidth of that memory.
    """

    name = "chmu"
    summary = "hotness monitoring unit of each CXL device: a hot list for each epoch"
    mechanism: Mechanism = "hardware"
    inline = False
    released = False
    awaits = "hardware, and a driver that no released kernel has"
    sees: Sees = "lower"
    clairvoyant = False

    def __init__(
        self,
        settings: SourceSettings,
        *,
        epoch_ms: float = 1000.0,
        threshold: int = 16,
        counter_bits: int = 16,
        ring_entries: int = 8192,
        downsampling: int = 1,
        entry_ns: float = 500.0,
        interrupt_ns: float = 2000.0,
        entry_bytes: float = 64.0,
    ) -> None:
        if downsampling not in [1 << k for k in range(16)]:
            raise UsageError(
                f"chmu.downsampling is {shown(downsampling)}, which is not a power of two up to 32768",
                "give 1 to count every miss",
            )
        check_number(self.name, "epoch_ms", epoch_ms, 1)
        check_number(self.name, "threshold", threshold, 0)
        check_number(self.name, "counter_bits", counter_bits, 1, 32)
        check_number(self.name, "ring_entries", ring_entries, 1, 1 << 24)
        check_number(self.name, "entry_ns", entry_ns, 0, MOST_NS)
        check_number(self.name, "interrupt_ns", interrupt_ns, 0, MOST_NS)
        check_number(self.name, "entry_bytes", entry_bytes, 0, 4096)
        self._epoch_ms, self._threshold, self._entry_ns = epoch_ms, threshold, entry_ns
        self._interrupt_ns, self._entry_bytes = interrupt_ns, entry_bytes
        self._max_count, self._downsampling = (1 << counter_bits) - 1, downsampling
        self._counter_bits, self._group_pages, self._page_bytes = (
            counter_bits,
            settings.group_pages,
            settings.page_bytes,
        )
        self._counts = np.zeros(settings.pages, np.uint64)
        self._first = [settings.first_page] * settings.nodes
        # A page stands for K alike: the entries of one are simulated, in a K-th of the list.
        self._list_entries = ring_entries
        self._room = [Carry() for _ in range(settings.nodes)]
        most = math.ceil(ring_entries / settings.group_pages)
        self._ring_page, self._ring_count = np.empty(most, np.uint32), np.empty(most, np.uint64)
        self._rng = np.array(
            [(settings.seed * 0x9E3779B97F4A7C15 + 0xA0761D6478BD642F) % (1 << 64) or 1], np.uint64
        )
        self._epoch_start_ms = -1.0
        self._total = self._dropped = 0
        self._devices = 1

    def observe(self, view: SliceView) -> Report:
        if self._epoch_start_ms < 0:
            self._epoch_start_ms = view.now_ms - view.dt_ns * 1e-6 * self._group_pages
        count_misses(
            view.page, view.misses, view.place, view.lower, self._downsampling, self._rng, self._counts
        )
        epochs = int((view.now_ms - self._epoch_start_ms) // self._epoch_ms)
        if epochs < 1:
            return Report(no_accesses(int(view.now_ms)))
        self._epoch_start_ms += epochs * self._epoch_ms
        return self._end_epoch(view, epochs)

    def _end_epoch(self, view: SliceView, epochs: int) -> Report:
        """Fill and read the hot list of every device, then clear the counters."""
        devices = np.flatnonzero(view.lower)
        self._devices = len(devices)
        pages, counts, interrupts = [], [], 0
        traffic: dict[int, float] = {}
        for device in devices.tolist():
            room = self._room[device].whole(self._list_entries / self._group_pages)
            entries, lost, self._first[device] = fill_hot_list(
                self._counts, view.place, device, self._threshold * epochs, self._first[device],
                self._ring_page[:room], self._ring_count[:room],
            )  # fmt: skip
            self._total += entries + lost
            self._dropped += lost
            interrupts += (entries > 0) + (lost > 0)
            held = int(np.count_nonzero(view.place == device))
            # A page stands for K; its counter is read and cleared once in an epoch that lasts a K-th.
            traffic[device] = entries * self._entry_bytes + epochs * held * 2 * self._counter_bits / 8
            pages.append(self._ring_page[:entries].copy())
            counts.append(np.minimum(self._ring_count[:entries], self._max_count).astype(np.uint32))
        self._counts.fill(0)
        if not pages:
            return Report(no_accesses(int(view.now_ms)))
        page, count = np.concatenate(pages), np.concatenate(counts)
        seen = Accesses(page, np.full(len(page), -1, np.int16), count, int(view.now_ms))
        # Interrupts come once for each real epoch, so they are a K-th of the time of one.
        work_ns = len(page) * self._entry_ns + interrupts * self._interrupt_ns / self._group_pages
        return Report(seen, kernel_ns=work_ns, traffic=traffic)

    def sampling(self) -> str:
        part = "every miss" if self._downsampling == 1 else f"1 of {self._downsampling} misses"
        return (
            f"{part} on the device; pages with more than {self._threshold} counts "
            f"in {self._epoch_ms:.0f} kernel ms, "
            f"at most {self._list_entries} for each device"
        )

    def counters(self) -> dict[str, int]:
        return {
            "hwhint_total_events": self._total,
            "hwhint_useful_events": self._total - self._dropped,
            "hwhint_dropped_events": self._dropped,
        }

    def tracker_bytes(self) -> int:
        """Memory on the devices: a counter for each page and 8 bytes for each entry of a hot list."""
        lists = 8 * self._list_entries * self._devices / self._group_pages
        return len(self._counts) * self._counter_bits // 8 + round(lists)
