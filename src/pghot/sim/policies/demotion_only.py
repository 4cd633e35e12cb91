"""Demotion without promotion: kswapd makes room in the fast tier, so that new memory starts there."""

from __future__ import annotations

from pghot.policies.policy import Passive, World


class DemotionOnly(Passive[World]):
    """The baseline that tells the gain of demotion from that of promotion: every mover demotes too."""

    name = "demotion"
    summary = "baseline: kswapd demotes cold pages to make room for new ones, nothing is promoted"
    kind = "baseline"

    def start(self, world: World) -> None:
        world.machine.demotion_enabled = True

    def act(self, world: World) -> None:
        world.machine.balance()
