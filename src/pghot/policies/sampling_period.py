"""What a policy asks of its sources, whatever theirs is: how often hardware samples, and of which tiers it hears."""

from __future__ import annotations

from typing import Any

from pghot.policies.policy import Policy


def own_period(policy: type[Policy[Any]], source: type[Any]) -> dict[str, int]:
    """The option that gives this source the policy's rate; none if either has no such thing.

    A policy names the events from one sample to the next in its class's `period_events`. A source, of the lab or live,
    names the option that takes it in its class's `period_option`.

    >>> from pghot.policies.hemem import HeMem
    >>> from pghot.sim.sources.pebs import Pebs
    >>> own_period(HeMem, Pebs)
    {'period_misses': 5003}
    """
    period, option = getattr(policy, "period_events", None), getattr(source, "period_option", "")
    return {option: int(period)} if period and option else {}


def own_tiers(policy: type[Policy[Any]], source: type[Any]) -> dict[str, bool]:
    """The option with which this source sees pages of every tier, for a policy that needs them; none otherwise.

    A policy says so in its class's `every_tier`. A source names the option in its class's `every_tier_option`.

    >>> from pghot.policies.hemem import HeMem
    >>> from pghot.sim.sources.hintfaults import HintFaults
    >>> own_tiers(HeMem, HintFaults)
    {}
    """
    option = getattr(source, "every_tier_option", "")
    return {option: True} if option and getattr(policy, "every_tier", False) else {}
