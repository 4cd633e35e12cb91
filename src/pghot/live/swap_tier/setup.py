"""Compressed swap as a tier, for the live side: whether it can be, the tier itself, and what it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from pghot.errors import UnsupportedError, UsageError
from pghot.kernel.needs import require
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.linux import LinuxMachine
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.machine.nodes import LiveTopology
from pghot.live.sources.access_source import AccessSource
from pghot.live.swap_tier.swap_space import CompressedSwap, compressed_needs, find_compressed_swap
from pghot.live.swap_tier.tier import CompressedTier
from pghot.policies.live_rules import unseen_is_cold
from pghot.units import PAGE_BYTES

SWAP_SOURCE = "swapins"  # sees what comes back from there


def check_compressed(root: SysRoot, mover: MoverSettings) -> CompressedSwap:
    """The swap to use. Raises for the mover damos, which cannot move pages there, and for a machine that cannot."""
    if mover.kind == "damos":
        raise UsageError(
            "the mover damos cannot move pages to compressed swap", "leave --compressed or --mover damos out"
        )
    require("compressed", compressed_needs(root))
    swap = find_compressed_swap(root)
    if swap is None:
        raise UnsupportedError("the compressed swap was just switched off", "switch it on again")
    return swap


def compressed_tier(
    root: SysRoot, mover: MoverSettings, topology: LiveTopology, sources: Sequence[AccessSource]
) -> CompressedTier | None:
    """The tier below all nodes, None when it was not asked for. Raises as `check_compressed`, and when no source sees
    what is hot above it."""
    if not mover.compressed:
        return None
    swap = check_compressed(root, mover)
    if not unseen_is_cold(sources) and not topology.lower:
        names = ", ".join(source.name for source in sources if source.name != SWAP_SOURCE)
        raise UsageError(
            f"{names} sees no page of the top tier: all of them would look cold",
            "add --source damon, softdirty, idle or pebs",
        )
    return CompressedTier(root, swap, len(topology.rank))


class CompressedFacts(TypedDict):
    """What docs/cli.md lists under `compressed`; the sizes are those of `Usage`."""

    kind: str
    areas: list[str]
    node: int
    pages: int
    out_pages: int
    fetched_pages: int
    faulted_pages: int
    locked_pages: int
    original_bytes: int
    compressed_bytes: int
    used_bytes: int
    saved_bytes: int
    guard_share: float


def compressed_facts(
    machine: LinuxMachine, root: SysRoot, tracked: npt.NDArray[np.int64]
) -> CompressedFacts | None:
    """What is there, and what it saves. None without the tier. `tracked`: int64[nodes], tracked pages on each.

    `saved_bytes` is what the tracked programs' pages there would take in memory, less everything that compressed
    swap takes, other programs' pages included: it may be negative.
    """
    compressing = machine.compressing
    if compressing is None:
        return None
    tier = compressing.tier
    usage, pages = tier.swap.usage(root), int(tracked[tier.node])
    return {
        "kind": tier.swap.kind,
        "areas": [area.path for area in tier.swap.areas],
        "node": tier.node,
        "pages": pages,
        "out_pages": machine.counts.compressed,
        "fetched_pages": machine.counts.fetched,
        "faulted_pages": machine.faulted,
        "locked_pages": machine.counts.locked,
        "original_bytes": usage.original_bytes,
        "compressed_bytes": usage.compressed_bytes,
        "used_bytes": usage.used_bytes,
        "saved_bytes": pages * PAGE_BYTES - usage.used_bytes,
        "guard_share": compressing.share,
    }


def compressed_counters(facts: CompressedFacts | None) -> dict[str, int]:
    """The same under the declared names; none without the tier."""
    if facts is None:
        return {}
    return {
        "pghot_compressed_out": facts["out_pages"],
        "pghot_compressed_fetched": facts["fetched_pages"],
        "pghot_compressed_faulted": facts["faulted_pages"],
        "pghot_compressed_locked": facts["locked_pages"],
        "pghot_compressed_pages": facts["pages"],
        "pghot_compressed_bytes": facts["used_bytes"],
        "pghot_compressed_saved_bytes": facts["saved_bytes"],
    }
