"""The state of the adversary's engine: arrays only, so that compiled kernels can work on them.

`par` holds what never changes, `var` what any step may change. Both are int64, indexed by the constants below.
Sizes are in bytes, times in picoseconds. The length of each array is given with it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pghot.arrays import I16, I32, I64, U8
from pghot.safety.adversary.scene import Scene
from pghot.units import PAGE_BYTES

IN_PLACE, GRANTED, PROMOTES = range(3)
WRITES = ("in place", "granted", "promotes")  # of `AccessRule`
FIFO, LIFO, RANDOM = range(3)
ORDERS = ("fifo", "lifo", "random")
NEVER = 1 << 62
PICO = 1e12

# Parameters.
PARAMETERS = 28
(P_PAGES, P_BLOCKS, P_LINES, P_CACHE, P_REAL, P_RESERVE, P_WARN, P_CLEAR, P_LINE_PS, P_PAGE_PS, P_REPORT_PS,
 P_INTERRUPT_PS, P_KILL_PS, P_PROTECT_PS, P_BATCH, P_GRANTS, P_PINS, P_WRITES, P_BUDGETS, P_DRAINS,
 P_REFUSES, P_FLUSH, P_ASK_BATCH, P_PIN_PROMOTES, P_CHARGE, P_ORDER, P_TENANTS, P_BUDGET,
) = range(PARAMETERS)  # fmt: skip
CHARGES = ("page", "growth", "line")

# Variables.
(NOW, USED, REPORTED, ACTIVE, SETTLING, DIRTY, HAND, LAST, BATCHED, GRANT_HAND, PINNED, WARNED, PENDING, PROTECT_AT,
 NEXT_REPORT, NEXT_DRAIN, DRAIN_HAND, NEXT_KILL, LEAST, LOST, FAILED, REFUSED, DEMOTED, LEFT, FAULTS, RANDOMS,
 STEPS, FIRST_LOSS, KILLED, LEAST_STEP) = range(30)  # fmt: skip


class State(NamedTuple):
    """One device, one cache, one host.

    size         int64[lines in a block + 1]: bytes that a block takes, by its number of raw lines
    place        uint8[pages]: 1 on the device, 0 in DRAM
    locked       uint8[pages]: 1 for pages in the demotion that is under way
    pinned       uint8[pages]
    grant        int32[pages]: the page's place among the granted ones; -1: not granted
    charge       int64[pages]: bytes that the host reserved for it
    raw_lines    int16[blocks]: lines that do not compress, of pages on the device
    content      uint8[lines]: 1 raw, 0 zero; as stored in memory, DRAM or device
    slot_of      int32[lines]: the dirty line's place in the cache; -1: not dirty
    slot_line, slot_content   int32, uint8[cache lines]: the dirty lines in the cache
    granted      int32[grants]: pages; -1: free
    batch        int32[batch]: pages of the demotion under way
    used_by, reported_by, active_by, settling_by, kill_at   int64[tenants]
    """

    par: I64
    var: I64
    size: I64
    place: U8
    locked: U8
    pinned: U8
    grant: I32
    charge: I64
    raw_lines: I16
    content: U8
    slot_of: I32
    slot_line: I32
    slot_content: U8
    granted: I32
    batch: I32
    used_by: I64
    reported_by: I64
    active_by: I64
    settling_by: I64
    kill_at: I64


def block_sizes(scene: Scene) -> list[int]:
    """Bytes of a block by its number of raw lines."""
    device = scene.device
    return [device.stored_bytes_bound(device.smallest_bytes, n) for n in range(device.lines_per_block + 1)]


def _picoseconds(seconds: float) -> int:
    """At least 1, because time must pass. At most so much that sums still fit an int64."""
    return max(1, round(min(seconds * PICO, NEVER / 4)))


def parameters(scene: Scene, order: int = FIFO) -> np.ndarray:
    """`par` of a scene. The warning comes at the latest when the reserve is touched."""
    device, host, rule = scene.device, scene.host, scene.rule
    low = max(round(device.low_share * scene.real), scene.reserve)
    spacing = round((device.high_share - device.low_share) * scene.real)
    drain = host.promotion_gb_s * 1e9
    par = np.zeros(PARAMETERS, np.int64)
    par[P_PAGES] = scene.pages
    par[P_BLOCKS] = device.blocks_per_page
    par[P_LINES] = device.lines_per_block
    par[P_CACHE] = scene.cache_lines
    par[P_REAL], par[P_RESERVE] = scene.real, scene.reserve
    par[P_WARN], par[P_CLEAR] = low, low + spacing
    par[P_LINE_PS] = _picoseconds(device.line / (host.write_gb_s * 1e9))
    par[P_PAGE_PS] = _picoseconds(PAGE_BYTES / drain) if drain else NEVER
    par[P_REPORT_PS] = round(min(device.report_us * 1e6, NEVER / 4))
    par[P_INTERRUPT_PS] = round(min(device.interrupt_us * 1e6, NEVER / 4))
    par[P_KILL_PS] = round(min(host.kill_us * 1e6, NEVER / 4))
    par[P_PROTECT_PS] = -1 if host.protect_us is None else round(min(host.protect_us * 1e6, NEVER / 4))
    par[P_BATCH], par[P_GRANTS] = host.batch_pages, host.grants
    par[P_PINS] = host.pinned // PAGE_BYTES
    par[P_WRITES], par[P_BUDGETS] = WRITES.index(rule.writes), rule.budgets
    # Where safety does not depend on draining, the host is played at its worst: it does not drain.
    par[P_DRAINS], par[P_REFUSES] = rule.drains == "in time", rule.refuses_last_resort
    par[P_FLUSH], par[P_ASK_BATCH] = host.flush, host.ask == "batch"
    par[P_PIN_PROMOTES] = host.pin_promotes and rule.read_only
    par[P_CHARGE] = CHARGES.index(host.charge)
    par[P_ORDER], par[P_TENANTS] = order, scene.tenants
    par[P_BUDGET] = (scene.real - scene.reserve) // scene.tenants
    return par


def new_state(scene: Scene, order: int = FIFO, seed: int = 1) -> State:
    """An empty device, all pages zero and in DRAM. `order`: in which the cache evicts."""
    par = parameters(scene, order)
    pages, lines = scene.pages, scene.pages * (PAGE_BYTES // scene.device.line)
    var = np.zeros(30, np.int64)
    var[REPORTED] = var[LEAST] = scene.real
    var[PENDING] = var[FIRST_LOSS] = -1
    var[NEXT_DRAIN] = var[NEXT_KILL] = var[PROTECT_AT] = NEVER
    var[NEXT_REPORT] = par[P_REPORT_PS]
    var[RANDOMS] = seed * 2654435761 % (1 << 31) + 1
    return State(
        par=par,
        var=var,
        size=np.array(block_sizes(scene), np.int64),
        place=np.zeros(pages, np.uint8),
        locked=np.zeros(pages, np.uint8),
        pinned=np.zeros(pages, np.uint8),
        grant=np.full(pages, -1, np.int32),
        charge=np.zeros(pages, np.int64),
        raw_lines=np.zeros(pages * scene.device.blocks_per_page, np.int16),
        content=np.zeros(lines, np.uint8),
        slot_of=np.full(lines, -1, np.int32),
        slot_line=np.full(scene.cache_lines, -1, np.int32),
        slot_content=np.zeros(scene.cache_lines, np.uint8),
        granted=np.full(scene.host.grants, -1, np.int32),
        batch=np.full(scene.host.batch_pages, -1, np.int32),
        used_by=np.zeros(scene.tenants, np.int64),
        reported_by=np.zeros(scene.tenants, np.int64),
        active_by=np.zeros(scene.tenants, np.int64),
        settling_by=np.zeros(scene.tenants, np.int64),
        kill_at=np.full(scene.tenants, NEVER, np.int64),
    )
