"""The programs in the daemon's configuration: one table `targets`, or groups of programs, each a table `programs`."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from pghot.documents import Strict
from pghot.live.targets import LeftOut, Targets
from pghot.quantities import MemorySize

# Each has a number in a byte, and its policy a record of each page.
MOST_GROUPS = 64


class LeftOutConfig(Strict):
    """Programs that are left out of those that fit: see `pghot.live.targets.LeftOut`."""

    names: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    cgroups: tuple[str, ...] = ()


class TargetsConfig(Strict):
    """Which programs: see `pghot.live.targets.Targets`."""

    pids: tuple[int, ...] = ()
    cgroups: tuple[str, ...] = ()
    children: bool = True
    names: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    min_size: MemorySize = 0
    leave_out: LeftOutConfig = LeftOutConfig()

    @model_validator(mode="after")
    def _some(self) -> TargetsConfig:
        if not (self.pids or self.cgroups or self.names or self.users or self.min_size):
            raise ValueError("name at least one of pids, cgroups, names, users, min_size")
        return self

    def targets(self) -> Targets:
        """What the live loop is told."""
        leave_out = self.leave_out
        return Targets(
            self.pids,
            self.cgroups,
            self.children,
            self.names,
            self.users,
            self.min_size,
            LeftOut(leave_out.names, leave_out.users, leave_out.cgroups),
        )


class ProgramsConfig(TargetsConfig):
    """A group of programs under a policy of its own; what is not said is that of the whole file."""

    name: str = Field(pattern="^[a-z0-9][a-z0-9-]{0,39}$")
    policy: str = ""
    rate_limit_mb_s: float | None = Field(None, ge=0.001, le=1e6)
    options: dict[str, Any] = Field(default_factory=dict)
