"""The access rules of a compressed tier, each with the same demotion and the same promotion (FACTS 6).

Cold pages are demoted by kswapd, hot ones promoted by pghot from what the device's own hotness unit nominates; what
differs is what a write to a compressed page does.
"""

from __future__ import annotations

from typing import Any

from pghot.errors import UsageError
from pghot.policies.pghot import Pghot
from pghot.policies.policy import World
from pghot.sim.compressed.device import AccessRule


class Rule(Pghot):
    """pghot's default store over a compressed tier with a given rule. `options` as for `Pghot`."""

    default_sources = ("chmu",)
    runs_live = False

    def __init__(self, rule: AccessRule, **options: Any) -> None:
        super().__init__("default", **options)
        self.name, self.rule = rule, rule
        self.summary = f"compressed tier with the access rule {rule}, cold pages demoted, hot ones promoted"

    def start(self, world: World) -> None:
        tier = world.simulated.compressed
        if tier is None:
            raise UsageError(
                f"policy '{self.rule}' is a rule for compressed memory, and no node of these tiers compresses",
                "give --tiers dram-cxl-compressed",
            )
        tier.rule = self.rule
        super().start(world)
