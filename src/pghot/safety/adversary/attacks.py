"""Attacks: traces of steps within a tenant's rights, built from a handful of numbers, so that each can be replayed.

All attacks have the same plot. Pages are prepared in DRAM. *Victims* compress well for now. *Decoys* do too, and the
host will move them away first. *Fillers* do not compress. All are left cold until the host has demoted what it admits.
Then everything happens at once. Dirty lines of some victims are held back in the cache. Lines of others stream to the
device. Zero-copy devices write to pinned ones. In the end all lines that were held are let go.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from pghot.errors import unknown_name
from pghot.safety.adversary.scene import Scene
from pghot.safety.adversary.state import ORDERS, block_sizes
from pghot.safety.adversary.steps import (
    COLD,
    DMA_RAW,
    FLUSH,
    FREE,
    OPERATIONS,
    PIN,
    STORE_RAW,
    STORE_ZERO,
    WAIT,
    trace_of,
)
from pghot.units import PAGE_BYTES


@dataclass(frozen=True, slots=True)
class Strategy:
    """One attack in numbers.

    order     in which the cache evicts: "fifo", "lifo", "random"
    edge      victims are written beforehand up to the point where the next line costs most
    hold      share of the cache that is kept full of dirty lines of victims until the end
    stream    pages that are spoiled line by line, as a share of all promised
    decoys    pages that compress and stay untouched, as a share of all promised
    across    one line of each streamed page is written first, then the next line of each
    flush     each streamed line is flushed, not left to the cache
    around    victims are spoiled in DRAM; after their demotion all lines but the costly ones are flushed
    regrow    victims arrive raw, shrink while writable, and grow back after the fillers have come
    pins      victims that are pinned, as a share of what may be pinned
    zero_copy pinned pages are written only by devices
    lead      pages that are demoted before the others, which shifts the others to other batches
    spare     fillers that are freed again before the victims are written, as a share of all promised
    attackers tenants that attack; the others only fill their memory
    pause     line times that pass between the phases
    cycles    how many times the attack is run; all pages are freed in between
    noise     random steps mixed in, as a share of the streamed ones
    """

    order: str = "lifo"
    edge: bool = True
    hold: float = 0.0
    stream: float = 0.0
    decoys: float = 0.0
    across: bool = False
    flush: bool = False
    around: bool = False
    regrow: bool = False
    pins: float = 0.0
    zero_copy: bool = False
    lead: int = 0
    spare: float = 0.0
    attackers: int = 1 << 30
    pause: int = 64
    cycles: int = 1
    noise: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def order_number(self) -> int:
        return ORDERS.index(self.order)


@dataclass(frozen=True, slots=True)
class Shape:
    """Where a block of the device costs most: after `before` raw lines, each of `lines` more costs `growth` bytes."""

    before: int
    lines: int
    growth: int
    full: int  # number of raw lines at which a block takes most


def shape(scene: Scene) -> Shape:
    """
    >>> from pghot.safety.margin import Host
    >>> from pghot.rules import WRITABLE
    >>> from pghot.sim.compressed.device import load_device
    >>> shape(Scene(load_device("multi-mode"), Host(), 1 << 30, 2 << 30, WRITABLE, 0))
    Shape(before=15, lines=1, growth=2176, full=16)
    """
    sizes = block_sizes(scene)
    steps = [after - before for before, after in pairwise(sizes)]
    growth = max(steps)
    before = steps.index(growth)
    lines = next((n for n, step in enumerate(steps[before:]) if step < growth), len(steps) - before)
    return Shape(before, lines, growth, sizes.index(max(sizes)))


def rows(operation: int, pages: np.ndarray, arguments: Any = 0) -> np.ndarray:
    """int32[n, 3]: the operation on each page."""
    found = np.empty((len(pages), 3), np.int32)
    found[:, 0], found[:, 1], found[:, 2] = operation, pages, arguments
    return found


def lines(scene: Scene, operation: int, pages: np.ndarray, first: int, last: int) -> np.ndarray:
    """The operation on lines [first, last) of each block of each page."""
    per_block = scene.device.lines_per_block
    blocks = np.arange(scene.device.blocks_per_page) * per_block
    offsets = (blocks[:, None] + np.arange(first, last)).ravel()
    return rows(operation, np.repeat(pages, len(offsets)), np.tile(offsets, len(pages)))


def pause(line_times: int) -> np.ndarray:
    return rows(WAIT, np.zeros(1, np.int32), line_times)


@dataclass(frozen=True, slots=True)
class Cast:
    """Pages by role. Decoys have the lowest addresses, which the host moves away first. Victims have the highest."""

    decoys: np.ndarray
    fillers: np.ndarray
    held: np.ndarray
    streamed: np.ndarray
    pinned: np.ndarray


def cast(scene: Scene, strategy: Strategy) -> Cast:
    """Give each page its role: victims belong to attackers; fillers are all other pages, whoever owns them."""
    form, pages = shape(scene), np.arange(scene.pages)
    mine = pages[pages % scene.tenants < strategy.attackers][::-1]
    a_page = form.lines * scene.device.blocks_per_page
    held = mine[: round(strategy.hold * scene.cache_lines / a_page + 0.499)]
    streamed = mine[len(held) :][: round(strategy.stream * scene.pages)]
    rest = np.setdiff1d(pages, np.concatenate([held, streamed]), assume_unique=True)
    decoys = round(strategy.decoys * scene.pages)
    pins = round(strategy.pins * scene.host.pinned / PAGE_BYTES)
    return Cast(rest[:decoys], rest[decoys:], held, streamed, streamed[:pins])


def build(scene: Scene, strategy: Strategy, seed: int = 0) -> np.ndarray:
    """The trace, int32[steps, 3]."""
    roles = cast(scene, strategy)
    once = [*prepare(scene, strategy, roles), pause(strategy.pause), *strike(scene, strategy, roles, seed)]
    everything = np.arange(scene.pages)
    again = [pause(strategy.pause), rows(FREE, everything), pause(strategy.pause), *once]
    return trace_of(*once, *(again * (strategy.cycles - 1)))


def prepare(scene: Scene, strategy: Strategy, roles: Cast) -> list[np.ndarray]:
    """Write contents in DRAM, pin pages, and leave pages cold until the host admits no more."""
    form = shape(scene)
    victims = np.concatenate([roles.held, roles.streamed])
    level = form.before if strategy.edge else 0
    spoiled = form.full if strategy.regrow else level
    parts = [
        lines(scene, STORE_RAW, victims, 0, spoiled),
        lines(scene, STORE_RAW, roles.fillers, 0, form.full),
    ]
    if strategy.around:
        return [*parts, *around(scene, strategy, roles)]
    parts += [rows(COLD, victims), rows(COLD, roles.decoys), pause(strategy.pause)]
    parts += [rows(PIN, roles.pinned), rows(COLD, roles.fillers[: strategy.lead]), pause(strategy.pause)]
    return [*parts, *fill(roles.fillers[strategy.lead :], strategy)]


def fill(fillers: np.ndarray, strategy: Strategy) -> list[np.ndarray]:
    """Leave the fillers cold, and do so again after a while: the last of them have to wait for a report."""
    return [rows(COLD, fillers), pause(strategy.pause), rows(COLD, fillers), pause(strategy.pause)]


def around(scene: Scene, strategy: Strategy, roles: Cast) -> list[np.ndarray]:
    """Victims are demoted with their costly lines in them; if the host does not flush, the cache keeps those lines.

    Each victim takes its raw size for a moment. So most fillers come first, and the last of them at the end.
    """
    form, per_block = shape(scene), scene.device.lines_per_block
    settled = block_sizes(scene)[form.before] * scene.device.blocks_per_page
    room = scene.real - scene.reserve - len(roles.held) * settled - 3 * PAGE_BYTES * scene.host.batch_pages
    first = roles.fillers[: max(0, room // PAGE_BYTES)]
    some = (
        scene.cache_lines * scene.device.line // PAGE_BYTES + 2
    )  # the cache keeps the oldest lines, or the newest
    recent = np.unique(np.concatenate([first[:some], first[-some:]]))
    parts = [rows(COLD, first), pause(strategy.pause), lines(scene, FLUSH, recent, 0, per_block)]
    for page in roles.held:
        one = np.array([page])
        parts += [
            lines(scene, STORE_RAW, one, 0, form.before + form.lines),
            rows(COLD, one),
            pause(1),
            lines(scene, FLUSH, one, form.lines, per_block),
            pause(strategy.pause),
        ]
    return [*parts, *fill(roles.fillers[len(first) :], strategy)]


def strike(scene: Scene, strategy: Strategy, roles: Cast, seed: int) -> list[np.ndarray]:
    """Make room, hold lines, stream, write past the page tables, and let go."""
    form = shape(scene)
    first = form.before if strategy.edge else 0
    last = form.before + form.lines
    parts = [rows(FREE, roles.fillers[: round(strategy.spare * scene.pages)]), pause(strategy.pause)]
    if strategy.regrow:
        parts += shrink(scene, roles)
        first, last = 0, form.full
    if not strategy.around:
        parts.append(lines(scene, STORE_RAW, roles.held, first, last))
    written = roles.streamed[len(roles.pinned) if strategy.zero_copy else 0 :]
    parts.append(mixed(scene, stream(scene, strategy, written, first, last), strategy.noise, seed))
    if strategy.zero_copy:
        parts.append(lines(scene, DMA_RAW, roles.pinned, 0, form.full))
    return [*parts, let_go(scene, np.concatenate([roles.held, written]), 0, last)]


def stream(scene: Scene, strategy: Strategy, pages: np.ndarray, first: int, last: int) -> np.ndarray:
    """Spoil pages line by line."""
    stores = lines(scene, STORE_RAW, pages, first, last)
    if strategy.across and len(pages):
        stores = stores.reshape(len(pages), -1, 3).swapaxes(0, 1).reshape(-1, 3)
    if not strategy.flush:
        return stores
    flushes = stores.copy()
    flushes[:, 0] = FLUSH
    return np.stack([stores, flushes], 1).reshape(-1, 3)


def shrink(scene: Scene, roles: Cast) -> list[np.ndarray]:
    """Make the streamed pages compress well, and let fillers take the room."""
    full = shape(scene).full
    return [
        lines(scene, STORE_ZERO, roles.streamed, 0, full),
        let_go(scene, roles.streamed, 0, full),
        rows(COLD, roles.fillers),
        rows(COLD, roles.fillers),
    ]


def let_go(scene: Scene, pages: np.ndarray, first: int, last: int) -> np.ndarray:
    """Flush these lines of these pages."""
    return lines(scene, FLUSH, pages, first, last)


def mixed(scene: Scene, steps: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Random steps of all kinds at random places among `steps`."""
    count = round(share * len(steps))
    if count == 0:
        return steps
    rng = np.random.default_rng(seed)
    operations = rng.integers(0, len(OPERATIONS), count)
    per_page = scene.device.lines_per_block * scene.device.blocks_per_page
    found = np.stack([operations, rng.integers(0, scene.pages, count), rng.integers(0, per_page, count)], 1)
    places = np.sort(rng.integers(0, len(steps) + 1, count))
    return np.insert(steps, places, found.astype(np.int32), axis=0)


ATTACKS: dict[str, tuple[str, Strategy]] = {
    "llc-of-spoiled-lines": (
        "the whole cache is dirty with lines of distinct blocks, all written back at once",
        Strategy(hold=1.0),
    ),
    "streaming-writes": (
        "line after line of compressible pages is spoiled and flushed, as fast as the link takes them",
        Strategy(stream=0.5, flush=True),
    ),
    "zero-copy-buffers": (
        "devices write to pinned pages, past the page tables",
        Strategy(edge=False, hold=1.0, stream=0.5, pins=1.0, zero_copy=True),
    ),
    "pin-and-write": (
        "pages are written that cannot be moved away",
        Strategy(stream=0.5, pins=1.0, flush=True, hold=0.5),
    ),
    "synchronised-phase-change": (
        "all tenants make all their memory incompressible at once, with the cache full of it",
        Strategy(edge=False, hold=1.0, stream=1.0),
    ),
    "mode-edge": (
        "blocks are brought to the point where one more line makes the device store them raw",
        Strategy(hold=0.5, stream=0.5),
    ),
    "dedup-unshare": (
        "equal pages, stored once, get one different line each",
        Strategy(edge=False, stream=0.5, decoys=0.25, flush=True),
    ),
    "flush-around": (
        "demoted pages keep one costly line in the cache; the tenant flushes all others",
        Strategy(hold=1.0, around=True),
    ),
    "shrink-and-regrow": (
        "writable pages shrink, others take the room, then the first grow back",
        Strategy(edge=False, stream=0.05, regrow=True, flush=True),
    ),
    "line-after-line": (
        "pages that became writable for one line are written in full",
        Strategy(edge=False, stream=0.05, across=True),
    ),
    "last-batch": (
        "the last batch of demotions begins with room for one page",
        Strategy(),
    ),
    "budget-overrun": (
        "one tenant uses up its budget, then overruns it with a full cache until it is killed",
        Strategy(hold=1.0, stream=0.5, attackers=1),
    ),
}


def attack_names() -> list[str]:
    return list(ATTACKS)


def attack(name: str, scene: Scene) -> Strategy:
    """A named attack, fitted to the scene. Raises `UsageError` for an unknown name."""
    if name not in ATTACKS:
        raise unknown_name("attack", name, attack_names())
    strategy = ATTACKS[name][1]
    if name == "last-batch":
        room = (scene.real - scene.reserve) // PAGE_BYTES
        return replace(strategy, lead=(room - 1) % scene.host.batch_pages)
    if name == "line-after-line":
        return writable_pages(scene, strategy)
    races = scene.rule.drains == "in time" and strategy.stream and not strategy.regrow
    if races and shape(scene).growth:
        return fitted(scene, strategy)
    return strategy


def writable_pages(scene: Scene, strategy: Strategy) -> Strategy:
    """As many victims as may be writable at a time, and room for one more line of each."""
    room = scene.host.grants * shape(scene).growth / PAGE_BYTES + 2
    return replace(
        strategy, stream=min(0.5, scene.host.grants / scene.pages), spare=min(0.5, room / scene.pages)
    )


def fitted(scene: Scene, strategy: Strategy) -> Strategy:
    """As many decoys as the host moves away while the rest is spoiled; docs/compressed-tier.md has the derivation."""
    host, form = scene.host, shape(scene)
    spoil = host.write_gb_s * 1e9 / scene.device.line * form.growth
    drain = host.promotion_gb_s * 1e9
    pool = scene.promised - scene.real + scene.reserve
    seconds = (pool + drain * scene.device.interrupt_us * 1e-6) / (spoil + drain)
    growing = form.growth * form.lines * scene.device.blocks_per_page
    spoiled = min(1.0, spoil * seconds / growing / scene.pages)
    decoys = max(0.0, (pool - spoil * seconds) / PAGE_BYTES / scene.pages)
    return replace(strategy, stream=spoiled, decoys=min(decoys, 1.0 - spoiled))
