"""The access rules of a compressed tier, each with the same demotion and the same promotion (FACTS 6).

Cold pages are demoted by kswapd, hot ones promoted by pghot from what the device's own hotness unit nominates; what
differs is what a write to a compressed page does.
"""

from __future__ import annotations

from pghot.errors import UsageError
from pghot.policies.pghot import Pghot
from pghot.sim.compressed.device import AccessRule
from pghot.sim.lab_world import LabWorld


class Rule(Pghot[LabWorld]):
    """pghot's default store over a compressed tier with the rule that a subclass names."""

    rule: AccessRule
    store = "default"
    group = "compressed"
    default_sources = ("chmu",)
    runs_live = False

    def start(self, world: LabWorld) -> None:
        tier = world.machine.compressed
        if tier is None:
            raise UsageError(
                f"policy '{self.rule}' is a rule for compressed memory, and no node of these tiers compresses",
                "give --tiers dram-cxl-compressed",
            )
        tier.rule = self.rule
        super().start(world)


class Writable(Rule):
    """A write is done in place: the page grows there."""

    name = rule = "writable"
    summary = "compressed tier with the access rule writable, cold pages demoted, hot ones promoted"


class ReadOnly(Rule):
    """A write faults; the page may grow there only while all that may grow could."""

    name = rule = "ro-cow"
    summary = "compressed tier with the access rule ro-cow, cold pages demoted, hot ones promoted"


class PromoteOnWrite(Rule):
    """A write faults and promotes the page."""

    name = rule = "promote-on-write"
    summary = "compressed tier with the access rule promote-on-write, cold pages demoted, hot ones promoted"


class Contained(Rule):
    """A write is done in place; a tenant that grows beyond its budget is killed."""

    name = rule = "contained"
    summary = "compressed tier with the access rule contained, cold pages demoted, hot ones promoted"
