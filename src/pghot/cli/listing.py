"""What `pghot list` knows: for each kind the names, each with one line of explanation."""

from __future__ import annotations

import shlex
from collections.abc import Callable


def _policies() -> dict[str, str]:
    from pghot.policies.registry import make_policy, policy_names

    return {name: make_policy(name).summary for name in policy_names()}


def _sources() -> dict[str, str]:
    from pghot.sources.registry import SUMMARIES, source_names

    return {name: SUMMARIES.get(name, "") for name in source_names()}


def _stores() -> dict[str, str]:
    from pghot.engine.stores import STORES

    texts = {
        "default": "one byte a page: frequency to 3, time in 128 ms, no node (pghot v4 and later)",
        "precise": "four bytes a page: frequency to 7, time in ms, accessing node (pghot v4 and later)",
        "hashed": "hash table and one max-heap for each top-tier node (pghot v2 and v3)",
    }
    return {name: texts.get(name, "") for name in STORES}


def _tiers() -> dict[str, str]:
    from pghot.machine.topology import load_topology, shipped_topologies

    return {name: load_topology(name).description for name in shipped_topologies()}


def _devices() -> dict[str, str]:
    from pghot.machine.compressed_device import load_device, shipped_devices

    return {name: load_device(name).description for name in shipped_devices()}


def _attacks() -> dict[str, str]:
    from pghot.lab.adversary.attacks import ATTACKS

    return {name: summary for name, (summary, _) in ATTACKS.items()}


def _workloads() -> dict[str, str]:
    from pghot.lab.workloads.registry import WORKLOADS

    return dict(WORKLOADS)


def _recordings() -> dict[str, str]:
    from pghot.recording import bundled
    from pghot.recording.reader import open_recording
    from pghot.units import format_size

    found = {}
    for name in bundled.names():
        recording = open_recording(bundled.path(name))
        footprint = format_size(recording.footprint_pages * recording.info.page_bytes)
        found[name] = f"{footprint:>10}  {shlex.join(recording.info.command)}"
    return found


def _counters() -> dict[str, str]:
    from pghot.counters import COUNTERS

    return {name: counter.help for name, counter in COUNTERS.items()}


def _metrics() -> dict[str, str]:
    from pghot.lab.metrics import METRICS

    return {metric.name: f"{metric.help} [{metric.unit}]" for metric in METRICS}


def _validations() -> dict[str, str]:
    from pghot.lab.validate import load_validation, validation_names

    return {name: load_validation(name).title for name in validation_names()}


KINDS: dict[str, Callable[[], dict[str, str]]] = {
    "policies": _policies,
    "sources": _sources,
    "stores": _stores,
    "tiers": _tiers,
    "devices": _devices,
    "attacks": _attacks,
    "workloads": _workloads,
    "recordings": _recordings,
    "counters": _counters,
    "metrics": _metrics,
    "validations": _validations,
}


def listing(kind: str) -> dict[str, str]:
    """Names and summaries of one of `KINDS`."""
    return KINDS[kind]()
