"""Where a run could take place today: in the kernel alone, with pghot in user space, or only some day.

It follows from what the policy and its sources declare, never from their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pghot.engine.accesses import Source
from pghot.policies.policy import Policy

RunsOn = Literal["kernel", "user space", "to come", "nowhere"]
"""
kernel      a released kernel does it by itself
user space  pghot does it on a released kernel, at user space's costs: what `pghot run` can give
to come     it takes patches or hardware that no release has
nowhere     it knows what no machine knows: an oracle
"""

CLASSES: tuple[RunsOn, ...] = ("kernel", "user space", "to come")


def places(policy: type[Policy[Any]], sources: Sequence[type[Source]]) -> tuple[RunsOn, ...]:
    """Where the policy with these sources can run: what an operator can have comes first."""
    if policy.kind == "oracle" or any(getattr(source, "clairvoyant", False) for source in sources):
        return ("nowhere",)
    released = all(source.released for source in sources)
    if released and not policy_awaits(policy):
        return ("kernel",)
    live = released and policy.runs_live and all(live_twin(source) for source in sources)
    return ("user space", "to come") if live else ("to come",)


def policy_awaits(policy: type[Policy[Any]]) -> str:
    """What a kernel still lacks to do this by itself; empty: a released kernel does it."""
    return str(getattr(policy, "awaits", "a kernel patch"))


def moves_in_fault(policy: type[Policy[Any]]) -> bool:
    """Whether the policy promotes in the thread that took a hint fault."""
    return bool(getattr(policy, "moves_in_fault", False))


def source_awaits(source: type[Source]) -> str:
    """What it takes for this source beyond a released kernel; empty: nothing, or it is a yardstick."""
    return (
        ""
        if source.released or getattr(source, "clairvoyant", False)
        else str(getattr(source, "awaits", "hardware or a driver of its own"))
    )


def live_twin(source: type[Source]) -> str:
    """The live source that sees what this source of the lab sees; empty: there is none."""
    return str(getattr(source, "live", ""))
