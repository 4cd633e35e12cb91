"""The seam that the lab and the live side share: policies, and what they may ask of a machine.

The policies of this package run in both halves. Those that need a simulation are in `pghot.sim.policies`.
"""

from __future__ import annotations

from typing import Any

from pghot.errors import PghotError, UsageError, did_you_mean
from pghot.plugins import Registry
from pghot.policies.policy import DECLARES, GROUP, Policy, SomeInTheLab, World, by_kind


class LivePolicies(Registry[Policy[World]]):
    """The policies that `pghot run` and the daemon can use."""

    def __init__(self) -> None:
        super().__init__("live policy", ("pghot.policies",), GROUP, declares=DECLARES, order=by_kind)

    def names(self) -> list[str]:
        return [name for name in super().names() if self._runs_live(name)]

    def get(self, name: str) -> type[Policy[World]]:
        if name not in super().names() or not self._runs_live(name):
            known = self.names()
            raise UsageError(
                f"no policy '{name}' runs live" if name else "no policy named",
                f"{did_you_mean(name, known)}these run live: {', '.join(known)}",
            )
        return super().get(name)

    def make(self, name: str, *given: Any, **options: Any) -> Policy[World]:
        """A new policy. Also raises `UsageError` for options that only the lab can honour."""
        policy = super().make(name, *given, **options)
        if isinstance(policy, SomeInTheLab) and (told := policy.lab_options()):
            raise UsageError(
                f"only the lab can honour {', '.join(f'{name}.{option}' for option in told)}",
                "leave it out: only `pghot compare` takes it, not a live run",
            )
        return policy

    def _runs_live(self, name: str) -> bool:
        try:
            return super().get(name).runs_live
        except PghotError:  # another package's policy that is broken: the error comes when it is asked for
            return True


LIVE_POLICIES = LivePolicies()
