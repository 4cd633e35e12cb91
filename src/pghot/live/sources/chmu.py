"""The hotness monitoring units of CXL 3.2 memory devices as a live source (PMUs `cxl_hmu_memX.Y.Z`).

The driver is a proposal that no released kernel has; see `pghot.kernel.hotlist`. A unit counts the accesses that
reach its own device. Memory whose count passes a threshold within an epoch is entered in its hot list. The driver
hands the list over when it is half full or when the event stops. A restart clears the counters, so each epoch is
started, waited for and read. Addresses are the device's own. They are translated to host addresses, then to page
frames, then to pages of programs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pghot.arrays import U64
from pghot.engine.accesses import Mechanism, Sees
from pghot.errors import UsageError
from pghot.kernel import hotlist
from pghot.kernel.cxl_regions import Extent, extents_of, frame_ranges, frames_of_units
from pghot.kernel.hotlist import COUNT, UNIT, HotList
from pghot.kernel.needs import Need, require
from pghot.kernel.perf_event import EventSpec, Ring, open_on_all_cpus, perf_need
from pghot.kernel.pmu import Pmu, pmu_names, read_pmu
from pghot.kernel.rmap import frames_need
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import SetKnob, Watched
from pghot.live.sources.access_source import Sightings, sightings_of
from pghot.live.sources.aux_area import AUX_COUNTERS, RING_BYTES, AuxNotes, drain_aux
from pghot.live.sources.frame_owners import FrameOwners
from pghot.live.sources.perf_sampling import READ_FORMAT

PREFIX = "cxl_hmu_"
AUX_BYTES = 1 << 20  # twice the largest hot list, 65535 entries of 8 bytes
# epoch_scale of the driver -> microseconds
_SCALES_US = {1: 100, 2: 1_000, 3: 10_000, 4: 100_000, 5: 1_000_000}
_EPOCH_BASED, _READS_AND_WRITES = 0, 6
# The epoch must be over when its list is read.
_MARGIN = 1.05


@dataclass(slots=True)
class _Device:
    """One device: its first unit, where its memory is, and when its epoch ends or the next one begins."""

    pmu: Pmu
    extents: list[Extent]
    ring: Ring | None = None
    running: bool = False
    began_ms: int = 0


class Chmu:
    """The options; constants as in FACTS section 4.

    epoch_ms      how long accesses are counted
    threshold     a unit of memory with this many accesses in an epoch is hot
    unit_bytes    size of a unit of memory, a power of two of at least 256
    downsampling  one access in this many is counted, a power of two
    """

    name = "chmu"
    summary = "hot lists of CXL 3.2 memory devices; root, and a driver that no released kernel has"
    mechanism: Mechanism = "hardware"
    inline = False
    released = False
    weight = 1
    sees: Sees = "lower"
    sees_hugetlb = True
    only_reads = False

    def __init__(
        self,
        root: SysRoot,
        epoch_ms: int = 1000,
        threshold: int = 16,
        unit_bytes: int = 4096,
        downsampling: int = 1,
    ) -> None:
        self._root = root
        self._epoch_ms, self._threshold = epoch_ms, threshold
        self._unit_bytes, self._downsampling, self._effort = unit_bytes, downsampling, 1.0
        self._devices = [_Device(pmu, extents_of(root, memdev)) for memdev, pmu in units_of(root).items()]
        self._notes, self._list = AuxNotes(), HotList.sized(1 << 16)
        self._owners = FrameOwners(root)
        self._counts = dict.fromkeys(AUX_COUNTERS, 0)

    def needs(self) -> list[Need]:
        region = [self._region_need()] if self._devices else []
        return [self._pmu_need(), *region, perf_need(self._root), frames_need(self._root)]

    def _pmu_need(self) -> Need:
        what = f"CXL hotness monitoring units: PMU {PREFIX}memX.Y.Z"
        if self._devices:
            return Need(what)
        return Need(what, "unsupported", f"no PMU {PREFIX}*",
                    "a CXL 3.2 device with such a unit and the proposed driver cxl_hmu (no released kernel has it)"
                    )  # fmt: skip

    def _region_need(self) -> Need:
        what = "memory of such a device in use: a CXL region"
        if any(device.extents for device in self._devices):
            return Need(what)
        return Need(what, "unsupported", "no memory of such a device is in a region",
                    "cxl create-region, then daxctl reconfigure-device --mode=system-ram")  # fmt: skip

    def start(self, watched: Watched, set_knob: SetKnob) -> None:
        require(self.name, self.needs())
        self._owners.keep_only([part for device in self._devices for part in frame_ranges(device.extents)])
        for device in self._devices:
            if device.extents:
                spec = event(
                    device.pmu, self._epoch_ms, self._threshold, self._unit_bytes, self._downsampling
                )
                rings = open_on_all_cpus(self._root, spec, RING_BYTES, "", device.pmu.cpus[:1], AUX_BYTES)
                device.ring = rings[0]
        self.watch(watched)

    def watch(self, watched: Watched) -> None:
        self._owners.watch(watched)
        rings = [device.ring for device in self._devices if device.ring]
        self._counts["perf_not_running_ms"] = sum(ring.idle_ns() for ring in rings) // 1_000_000

    def poll(self, now_ms: int) -> Sequence[Sightings]:
        found = []
        for device in self._devices:
            if device.ring is not None:
                self._turn(device, device.ring, now_ms)
                self._notes.take(device.ring, self._counts)
                found += self._drain(device, device.ring, now_ms)
        return found

    def _turn(self, device: _Device, ring: Ring, now_ms: int) -> None:
        """End an epoch that is over, and begin the next one when it is due."""
        passed_ms = now_ms - device.began_ms
        if device.running and passed_ms >= self._epoch_ms * _MARGIN:
            ring.disable()
            device.running = False
        if not device.running and passed_ms >= self._epoch_ms * _MARGIN / self._effort:
            ring.enable()
            device.running, device.began_ms = True, now_ms

    def _drain(self, device: _Device, ring: Ring, now_ms: int) -> list[Sightings]:
        from pghot.kernel.hotlist_decode import decode_hotlist

        rows = hotlist.TAIL, hotlist.CORRUPT
        found = [
            self.sightings(self._list.fields[:, :count], device.extents, now_ms)
            for count in drain_aux(ring, decode_hotlist, self._list, *rows, self._counts)
        ]
        return [sightings for sightings in found if len(sightings)]

    def sightings(self, fields: U64, extents: Sequence[Extent], now_ms: int) -> Sightings:
        """Sightings from one device's hot-list entries (rows as in `HotList.fields`): pages of tracked programs.

        A unit that spans several pages counts in full for each of them.
        """
        self._counts["hwhint_total_events"] += fields.shape[1]
        frame, entry = frames_of_units(extents, fields[UNIT], self._unit_bytes)
        pid, address, index = self._owners.find(frame, now_ms)
        entry = entry[index]
        self._counts["hwhint_useful_events"] += len(np.unique(entry))
        count = np.minimum(fields[COUNT, entry], np.uint64(0xFFFFFFFF)).astype(np.uint32)
        return sightings_of(pid, address, count)

    def set_effort(self, share: float) -> None:
        """Leave pauses between epochs."""
        self._effort = share

    def sampling(self) -> str:
        part = "accesses" if self._downsampling == 1 else f"one in {self._downsampling} accesses"
        pause = f", one epoch in {1 / self._effort:.1f}" if self._effort < 1 else ""
        return (
            f"CHMU: units of {self._unit_bytes} B with {self._threshold} {part} or more "
            f"in {self._epoch_ms} ms{pause}"
        )

    def counters(self) -> dict[str, int]:
        return dict(self._counts)

    def stop(self) -> None:
        for device in self._devices:
            if device.ring is not None:
                device.ring.close()
                device.ring = None


def units_of(root: SysRoot) -> dict[str, Pmu]:
    """The first unit of every memory device; a second one on the same memory would count it twice."""
    found: dict[str, Pmu] = {}
    for name in pmu_names(root, PREFIX):
        match = re.fullmatch(rf"{PREFIX}(mem\d+)\.\d+\.\d+", name)
        pmu = read_pmu(root, name) if match else None
        if match and pmu:
            found.setdefault(match[1], pmu)
    return found


def event(pmu: Pmu, epoch_ms: int, threshold: int, unit_bytes: int, downsampling: int) -> EventSpec:
    """The driver's event, not yet started. Raises `UsageError` for values that the driver cannot express."""
    scale, multiplier = epoch_of(epoch_ms)
    terms = {
        "epoch_type": _EPOCH_BASED,
        "access_type": _READS_AND_WRITES,
        "epoch_scale": scale,
        "epoch_multiplier": multiplier,
        "hotness_threshold": threshold,
        "hotness_granual": log2_of("unit_bytes", unit_bytes, 256),
        "downsampling_factor": log2_of("downsampling", downsampling, 1),
    }
    return EventSpec(pmu.type, sample_type=0, flags=("disabled",), read_format=READ_FORMAT,
                     **pmu.config(terms))  # fmt: skip


def epoch_of(epoch_ms: int) -> tuple[int, int]:
    """The driver's scale and 12-bit multiplier for an epoch.

    >>> epoch_of(1000)
    (2, 1000)
    """
    for scale, unit_us in _SCALES_US.items():
        multiplier, rest = divmod(epoch_ms * 1000, unit_us)
        if rest == 0 and 1 <= multiplier < 1 << 12:
            return scale, multiplier
    raise UsageError(f"chmu: an epoch of {epoch_ms} ms cannot be set", "give 1 to 4095 ms, or whole seconds")


def log2_of(option: str, value: int, least: int) -> int:
    """The exponent of a power of two. Raises `UsageError` for any other number, or one below `least`."""
    if value < least or value & (value - 1):
        raise UsageError(
            f"chmu: {option} {value} is not a power of two of at least {least}",
            f"give a power of two, {least} or more",
        )
    return value.bit_length() - 1
