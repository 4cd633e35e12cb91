"""How often hardware samples for a policy that has a rate of its own, whatever the source's is."""

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
