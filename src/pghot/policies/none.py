"""First touch without moves: what a kernel does with NUMA balancing and demotion off."""

from __future__ import annotations

from pghot.policies.policy import Passive, World


class NoMoves(Passive[World]):
    """The baseline of every speed-up."""

    name = "none"
    summary = "first touch, no moves"
    kind = "baseline"
    runs_live = True
