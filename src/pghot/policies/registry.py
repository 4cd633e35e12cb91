"""The policies by name. One of your own joins through an entry point of the group "pghot.policies"."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from pghot.errors import unknown_name
from pghot.policies.policy import Policy

PolicyFactory = Callable[..., Policy]
ENTRY_POINT_GROUP = "pghot.policies"


def _make(module: str, name: str, *arguments: Any, **options: Any) -> Policy:
    return cast(Policy, getattr(import_module(f"pghot.{module}"), name)(*arguments, **options))


POLICIES: dict[str, PolicyFactory] = {
    "none": partial(_make, "policies.none", "NoMoves"),
    "demotion": partial(_make, "sim.policies.demotion_only", "DemotionOnly"),
    "all-fast": partial(_make, "sim.policies.all_fast", "AllFast"),
    "all-slow": partial(_make, "sim.policies.all_slow", "AllSlow"),
    "interleave": partial(_make, "sim.policies.interleave", "Interleave"),
    "static-class": partial(_make, "sim.policies.static_class", "StaticClass"),
    "numab2": partial(_make, "sim.policies.numab2", "NumaBalancing2"),
    "pghot-default": partial(_make, "policies.pghot", "Pghot", "default"),
    "pghot-precise": partial(_make, "policies.pghot", "Pghot", "precise"),
    "pghot-hashed": partial(_make, "policies.pghot", "Pghot", "hashed"),
    "lru-bw": partial(_make, "sim.policies.lru_bw", "LruBandwidth"),
    "hemem": partial(_make, "policies.hemem", "HeMem"),
    "hemem-colloid": partial(_make, "sim.policies.colloid", "HeMemColloid"),
    "writable": partial(_make, "sim.policies.access_rule", "Rule", "writable"),
    "ro-cow": partial(_make, "sim.policies.access_rule", "Rule", "ro-cow"),
    "promote-on-write": partial(_make, "sim.policies.access_rule", "Rule", "promote-on-write"),
    "contained": partial(_make, "sim.policies.access_rule", "Rule", "contained"),
    "oracle-static": partial(_make, "sim.policies.oracle_static", "OracleStatic"),
    "oracle-epoch": partial(_make, "sim.policies.oracle_epoch", "OracleEpoch"),
}

# Rules for compressed memory: they run where a node compresses.
COMPRESSED = ("writable", "ro-cow", "promote-on-write", "contained")
GROUPS: dict[str, tuple[str, ...]] = {
    "all": tuple(name for name in POLICIES if name not in COMPRESSED),
    "compressed": COMPRESSED,
    "pghot": ("pghot-default", "pghot-precise", "pghot-hashed"),
    "oracles": ("oracle-static", "oracle-epoch"),
    "bounds": ("all-fast", "all-slow"),
}


def policy_names() -> list[str]:
    """Built-in policies first, then those that installed packages registered."""
    outside = sorted(point.name for point in entry_points(group=ENTRY_POINT_GROUP))
    return [*POLICIES, *(name for name in outside if name not in POLICIES)]


def make_policy(name: str, **options: Any) -> Policy:
    """A new policy object; `options` go to its constructor.

    Raises `UsageError` for an unknown name, suggesting the nearest.
    """
    if name in POLICIES:
        return POLICIES[name](**options)
    for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        return cast(Policy, point.load()(**options))
    raise unknown_name("policy", name, [*policy_names(), *GROUPS])


def expand(names: list[str]) -> list[str]:
    """Names with the groups written out, each once, in order; unknown names are left for `make_policy`."""
    flat = [member for name in names for member in GROUPS.get(name, (name,))]
    if "all" in names:
        flat += [name for name in policy_names() if name not in (*flat, *COMPRESSED)]
    return list(dict.fromkeys(flat))
