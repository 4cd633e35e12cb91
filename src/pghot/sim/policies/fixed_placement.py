"""The best placement that the lab finds for a program whose pages never move.

It begins with the hottest pages on the node with the lowest latency, the next on the next. Where no node is busy, that
is it. Where bandwidth counts, a node can be better off with less than it holds. Then pages are exchanged at the prices
of the nodes: what one more miss there costs in each epoch, taken from the machine itself. As many exchanges are kept
as shorten a pass over the trace, and the prices are taken anew, until none do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pghot.arrays import F64, I64, U8, U32, Bool
from pghot.sim.lab_world import LabWorld, Tried

BUSY_SHARE = 0.4  # of a node's bandwidth in use: below it, a miss more costs the others nothing
ROUNDS = 40  # of prices, at most
LEAST = 1e-4  # of a pass: a smaller gain ends the search
FEW = 32  # so many exchanges are tried one by one; of more, at least this part together


@dataclass(frozen=True, slots=True)
class Exchanges:
    """Moves in order of what they save, each of one page, or of two that change places.

    page, node    uint32[K], uint8[K]  what goes where
    other, back   uint32[K], uint8[K]  the page that makes room, and where it goes; where there is room, the same again
    """

    page: U32
    node: U8
    other: U32
    back: U8

    def part(self, begin: int, end: int, place: U8) -> U8:
        """The placement after those of them."""
        some, after = slice(begin, end), place.copy()
        after[self.other[some]] = self.back[some]
        after[self.page[some]] = self.node[some]
        return after

    def only(self, which: I64 | Bool) -> Exchanges:
        """Those of them."""
        return Exchanges(self.page[which], self.node[which], self.other[which], self.back[which])

    def saves(self, place: U8, costs: F64) -> F64:
        """float64[K]: by how much each lowers the costs, float64[nodes, pages], of this placement."""
        saved = costs[place[self.page], self.page] - costs[self.node, self.page]
        back = costs[place[self.other], self.other] - costs[self.back, self.other]
        total: F64 = saved + np.where(self.other == self.page, 0.0, back)
        return total


def best_fixed_placement(world: LabWorld) -> U8:
    """uint8[pages]: the node of each page."""
    machine = world.machine
    heat: F64 = (world.foresight.total_misses() * machine.overlap).astype(np.float64)
    nodes = [int(node) for node in np.argsort(machine.latency_ns, kind="stable") if not machine.private[node]]
    place = place_by_heat(heat, nodes, [machine.room(node) for node in nodes])
    tried = world.foresight.try_pass(place)
    if tried.busiest_share < BUSY_SHARE:
        return place
    for _ in range(ROUNDS):
        before, start = tried, place
        free = [machine.room(node) - int(np.count_nonzero(place == node)) for node in nodes]
        all_ = exchanges(place, _costs(world, tried), nodes, free)
        for after in _candidates(all_, start):
            again = world.foresight.try_pass(after)
            if again.ns < tried.ns * (1 - LEAST):
                place, tried = after, again
            elif tried is not before and len(all_.page) > FEW:
                break  # the halves of what helps help less
        if tried is before:
            break
    return place


def _candidates(found: Exchanges, place: U8) -> Iterator[U8]:
    """Placements to try: after parts of the exchanges in which no page moves twice, and of few, after each alone."""
    once = each_page_once([found], len(place))
    for begin, end in parts_of(len(once.page)):
        yield once.part(begin, end, place)
    if len(found.page) <= 2 * FEW:
        for begin in range(len(found.page)):
            yield found.part(begin, begin + 1, place)


def parts_of(many: int) -> Iterator[tuple[int, int]]:
    """Which of so many exchanges to try together: all, the first half, the first quarter, and so on.

    Of few exchanges the other halves and quarters as well, down to single ones: there each counts.

    >>> list(parts_of(3))
    [(0, 3), (0, 1), (1, 2), (2, 3)]
    """
    size = many
    while size > 0 and size >= many // FEW:
        starts = range(0, many, size) if many <= FEW else (0,)
        yield from ((start, min(start + size, many)) for start in starts)
        size //= 2


def _costs(world: LabWorld, tried: Tried) -> F64:
    """float64[nodes, pages]: what all misses of each page would cost on each node, at the prices of this pass."""
    costs = np.zeros((tried.price_ns.shape[1], world.pages))
    for number, (page, misses) in enumerate(world.foresight.epochs_of_a_pass()):
        costs[:, page] += np.outer(tried.price_ns[number], misses * world.machine.overlap[page])
    return costs


def place_by_heat(heat: F64, nodes: Sequence[int], room: Sequence[int]) -> U8:
    """uint8[pages]: each node in order takes the hottest pages that are left; the last takes all others.

    >>> place_by_heat(np.array([5.0, 1.0, 3.0, 1.0]), [0, 1], [2, 4]).tolist()
    [0, 1, 0, 1]
    """
    left = np.argsort(-heat, kind="stable")
    place = np.full(len(heat), nodes[-1], np.uint8)
    for node, pages in zip(nodes, room, strict=True):
        place[left[:pages]] = node
        left = left[pages:]
    return place


def exchanges(
    place: U8, costs: F64, nodes: Sequence[int], free: Sequence[int], move_ns: float = 0.0
) -> Exchanges:
    """What lowers the costs by more than it takes: pages into free room, and pairs of pages that change places.

    A page may be in several; `each_page_once` leaves one.

    place    uint8[pages]
    costs    float64[nodes, pages]
    free     pages that still fit on each of `nodes`
    move_ns  what one move costs
    """
    left = dict(zip(nodes, free, strict=True))
    none = np.empty(0, np.uint32)
    # Nothing is exchanged where there is one node, because the other compresses.
    parts: list[tuple[F64, U32, int, U32, int]] = [(np.empty(0), none, 0, none, 0)]
    for source in nodes:
        for target in nodes:
            if target == source:
                continue
            saves = costs[source] - costs[target]
            into = _falling(np.flatnonzero(place == source), saves)
            into = into[saves[into] > move_ns]
            alone = into[: max(0, left[target])]
            left[target] -= len(alone)
            parts.append((saves[alone], alone, target, alone, target))
            out = _falling(np.flatnonzero(place == target), -saves)
            pairs = min(len(into), len(out))
            gain = saves[into[:pairs]] - saves[out[:pairs]]
            pairs = int(np.count_nonzero(gain > 2 * move_ns))  # it falls from pair to pair
            parts.append((gain[:pairs], into[:pairs], target, out[:pairs], source))
    gain = np.concatenate([part[0] for part in parts])
    order = np.argsort(-gain, kind="stable")
    page, other = (np.concatenate([part[i] for part in parts])[order] for i in (1, 3))
    node, back = (
        np.concatenate([np.full(len(part[0]), part[i], np.uint8) for part in parts])[order] for i in (2, 4)
    )
    return Exchanges(page, node, other, back)


def _falling(page: I64, worth: F64) -> U32:
    """The pages, the most worth first."""
    return page[np.argsort(-worth[page], kind="stable")].astype(np.uint32)


def each_page_once(found: Sequence[Exchanges], pages: int) -> Exchanges:
    """All of them in order, without those of pages that an earlier one moves."""
    page, node, other, back = (
        np.concatenate([getattr(each, name) for each in found]) for name in ("page", "node", "other", "back")
    )
    position = np.arange(len(page))
    first = np.full(pages, len(page))
    np.minimum.at(first, page, position)
    np.minimum.at(first, other, position)
    kept = (first[page] == position) & (first[other] == position)
    return Exchanges(page[kept], node[kept], other[kept], back[kept])
