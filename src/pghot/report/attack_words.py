"""An attack in words: what its tenants do, from the numbers of its strategy."""

from __future__ import annotations

from collections.abc import Iterator

from pghot.safety.adversary.attacks import Strategy
from pghot.safety.adversary.scene import Scene
from pghot.units import counted, format_share

_EVICTED = {"fifo": "the oldest line", "lifo": "the newest line", "random": "any line"}


def in_words(strategy: Strategy, scene: Scene) -> str:
    """What differs from a strategy that only fills the device."""
    return "; ".join(_said(strategy, scene)) or "fill the device, nothing else"


def _said(strategy: Strategy, scene: Scene) -> Iterator[str]:
    plain = Strategy()
    if strategy.order != plain.order:
        yield f"the cache evicts {_EVICTED[strategy.order]} first"
    if not strategy.edge:
        yield "victims are not written up to their costliest line beforehand"
    yield from _amounts(strategy)
    if strategy.across:
        yield "one line of each page first, then the next of each"
    if strategy.flush:
        yield "each streamed line is flushed"
    if strategy.around:
        yield "victims are spoiled in DRAM, and all but their costly lines flushed after demotion"
    if strategy.regrow:
        yield "victims shrink while writable and grow back when the device is full"
    if strategy.zero_copy:
        yield "only devices write to pinned pages"
    if strategy.lead:
        yield f"{counted(strategy.lead, 'page')} demoted ahead of the others"
    if strategy.attackers < scene.tenants:
        who = "tenant attacks" if strategy.attackers == 1 else "tenants attack"
        yield f"{strategy.attackers} of {scene.tenants} {who}, the others fill their memory"
    if strategy.pause != plain.pause:
        yield f"{counted(strategy.pause, 'line time')} between phases"
    if strategy.cycles > 1:
        yield f"run {counted(strategy.cycles, 'time')}"


def _amounts(strategy: Strategy) -> Iterator[str]:
    for share, what in (
        (strategy.hold, "of the cache kept full of victims' dirty lines until the end"),
        (strategy.stream, "of all pages spoiled line by line"),
        (strategy.decoys, "of all pages are decoys that compress"),
        (strategy.pins, "of what may be pinned is pinned"),
        (strategy.spare, "of all pages freed just before"),
        (strategy.noise, "random steps beside the streamed ones"),
    ):
        if share:
            yield f"{format_share(share, 0 if share >= 0.1 else 1)} {what}"
