"""Programs in groups, each under a policy and a rate of its own; of the groups that a program fits, the first has it.

One loop serves all of them: each source is read once, and what it saw goes to the policy of the group whose program it
was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from pghot.arrays import I32, U8, Bool
from pghot.kernel.process import pid_max
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.linux import LinuxMachine
from pghot.live.members import Look, Members
from pghot.live.targets import LeftOut, Targets
from pghot.policies.policy import Policy, World


@dataclass(frozen=True, slots=True)
class Group:
    """What is told of one group.

    policy           name of its policy and its options; "none" leaves the programs alone
    rate_limit_mb_s  of its promotions, within that of the mover
    """

    name: str
    targets: Targets
    policy: str
    rate_limit_mb_s: float
    policy_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def left_alone(self) -> bool:
        """Whether its programs are not even tracked. Without groups the policy "none" tracks, for a recording."""
        return bool(self.name) and self.policy == "none"


@dataclass(slots=True)
class LiveGroup:
    """A group at work. `machine` paces its promotions."""

    name: str
    policy: Policy[World]
    machine: LinuxMachine
    world: World


class GroupMembers:
    """Which processes belong to which group now. `counts` is how many each has."""

    def __init__(self, root: SysRoot, groups: Sequence[Group]) -> None:
        """Raises `UsageError` for a user that does not exist."""
        self._root = root
        self._members = [Members(root, group.targets) for group in groups]
        self._leave_alone = [group.left_alone for group in groups]
        self._of: U8 = np.zeros(pid_max(root) + 1 if len(groups) > 1 else 0, np.uint8)
        self.counts = [0] * len(groups)

    def check(self) -> None:
        """Raise as `Members.check`."""
        for members in self._members:
            members.check()

    def now(self) -> list[int]:
        """Pids that are tracked now."""
        group: dict[int, int] = {}
        look = Look(self._root)
        for number, members in enumerate(self._members):
            for pid in members.now(look):
                group.setdefault(pid, number)
        self.counts = [0] * len(self._members)
        for pid, number in group.items():
            self.counts[number] += 1
            if len(self._of):
                self._of[pid] = number
        return [pid for pid, number in group.items() if not self._leave_alone[number]]

    def split(self, pid: I32) -> Iterator[tuple[int, Bool | slice]]:
        """Each group that has some of the sightings (int32[K] pids of tracked programs), and which they are."""
        if len(self._of) == 0:
            yield 0, slice(None)
            return
        group = self._of[pid]
        for number in np.unique(group).tolist():
            yield number, group == number


def all_targets(targets: Sequence[Targets]) -> Targets:
    """Everything that the groups name, for what is checked and looked after by name."""

    def joined(parts: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(chain.from_iterable(parts)))

    return Targets(
        joined([each.pids for each in targets]),
        joined([each.cgroups for each in targets]),
        any(each.children for each in targets),
        joined([each.names for each in targets]),
        joined([each.users for each in targets]),
        max((each.min_bytes for each in targets), default=0),
        LeftOut(
            joined([each.left_out.names for each in targets]),
            joined([each.left_out.users for each in targets]),
            joined([each.left_out.cgroups for each in targets]),
        ),
    )
