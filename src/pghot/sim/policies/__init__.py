"""The policies of the lab. Some run live as well. The others, in this package, need a simulation: bounds, placements,
oracles, and other people's systems."""

from __future__ import annotations

from collections.abc import Sequence

from pghot.errors import PghotError, unknown_name
from pghot.plugins import Registry
from pghot.policies.policy import DECLARES, GROUP, Policy, by_kind, group_of
from pghot.sim.lab_world import LabWorld

POLICIES: Registry[Policy[LabWorld]] = Registry(
    "policy", ("pghot.policies", "pghot.sim.policies"), GROUP, declares=DECLARES, order=by_kind
)


def groups() -> dict[str, list[str]]:
    """The policies of each group; a policy declares its group. "all" has all policies."""
    found: dict[str, list[str]] = {"all": POLICIES.names()}
    for name in POLICIES.names():
        if group := _group_of(name):
            found.setdefault(group, []).append(name)
    return found


def _group_of(name: str) -> str:
    try:
        return group_of(POLICIES.get(name))
    except PghotError:  # another package's policy that is broken: the error comes when it is made
        return ""


def expand(names: Sequence[str]) -> list[str]:
    """Names of policies, with each group replaced by its policies, each once and in order.

    Raises `UsageError` for a name that is neither a policy nor a group, with the nearest as a suggestion.
    """
    known, by_group = POLICIES.names(), groups()
    for name in names:
        if name not in known and name not in by_group:
            raise unknown_name("policy", name, [*known, *by_group])
    return list(dict.fromkeys(member for name in names for member in by_group.get(name, [name])))
