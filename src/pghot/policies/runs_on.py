"""Where a run could take place today: in the kernel alone, with pghot in user space, or only some day.

It follows from what the policy and its sources declare, never from their names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pghot.engine.accesses import Source
from pghot.policies.policy import Policy

RunsOn = Literal["kernel", "user space", "to come", "nowhere"]
"""
kernel      a released kernel does it by itself
user space  a released kernel with pghot in user space does it, at user space's costs
to come     it takes patches or hardware that no release has
nowhere     it knows what no machine knows: an oracle
"""


def runs_on(policy: type[Policy[Any]], sources: Iterable[type[Source]]) -> RunsOn:
    """Where the policy with these sources runs."""
    if policy.kind == "oracle" or any(getattr(source, "clairvoyant", False) for source in sources):
        return "nowhere"
    return "to come" if policy_awaits(policy) or not all(source.released for source in sources) else "kernel"


def policy_awaits(policy: type[Policy[Any]]) -> str:
    """What a kernel still lacks to do this by itself; empty: a released kernel does it."""
    return str(getattr(policy, "awaits", "a kernel patch"))
