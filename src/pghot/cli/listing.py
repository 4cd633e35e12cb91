"""`pghot list`: for each kind of thing the names, each with one line of explanation."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Annotated

import typer

from pghot.cli.shared_options import Json
from pghot.errors import unknown_name


def _policies() -> dict[str, str]:
    """With what a kernel still lacks for each."""
    from pghot.policies.runs_on import policy_awaits
    from pghot.sim.policies import POLICIES

    usable = POLICIES.usable()
    return {
        name: _needing(summary, policy_awaits(usable[name]) if name in usable else "", usable_live(name))
        for name, summary in POLICIES.summaries().items()
    }


def usable_live(policy: str) -> bool:
    """Whether `pghot run` offers the policy."""
    from pghot.policies import LIVE_POLICIES

    return policy in LIVE_POLICIES.names()


def _needing(summary: str, awaited: str, elsewhere: bool = False) -> str:
    """The summary, with what it takes that no released kernel has. elsewhere: it runs in user space all the same."""
    return (
        f"{summary}; {'in the kernel it needs' if elsewhere else 'needs'} {awaited}" if awaited else summary
    )


def _sources() -> dict[str, str]:
    """The lab's first. A source that both sides have gets both summaries: the live one may see something else."""
    from pghot.live.sources import LIVE_SOURCES
    from pghot.policies.runs_on import source_awaits
    from pghot.sim.sources import SOURCES

    usable = SOURCES.usable()
    lab, live = SOURCES.summaries(), LIVE_SOURCES.summaries()
    lab = {
        name: _needing(summary, source_awaits(usable[name]) if name in usable else "")
        for name, summary in lab.items()
    }
    return {
        name: "; live: ".join(text for text in (lab.get(name), live.get(name)) if text)
        for name in [*lab, *(name for name in live if name not in lab)]
    }


def where(kind: str) -> dict[str, str]:
    """Where each source works: "lab", "live" or "both"; where each policy runs (`policies.runs_on`); or nothing."""
    if kind == "policies":
        return _places()
    return _halves() if kind == "sources" else {}


def _places() -> dict[str, str]:
    """Where each policy runs with its own sources; empty for one that cannot be used."""
    from pghot.policies.runs_on import places
    from pghot.sim.policies import POLICIES
    from pghot.sim.sources import SOURCES

    usable = POLICIES.usable()
    return {
        name: ", ".join(
            places(usable[name], [SOURCES.get(source) for source in usable[name].default_sources])
        )
        if name in usable
        else ""
        for name in POLICIES.names()
    }


def _halves() -> dict[str, str]:
    from pghot.live.sources import LIVE_SOURCES
    from pghot.sim.sources import SOURCES

    lab, live = SOURCES.names(), LIVE_SOURCES.names()
    return {
        name: "both" if name in lab and name in live else "lab" if name in lab else "live"
        for name in [*lab, *live]
    }


def _stores() -> dict[str, str]:
    from pghot.engine import STORES

    return STORES.summaries()


def _tiers() -> dict[str, str]:
    from pghot.sim.machine.topology import TOPOLOGIES, load_topology

    return {name: load_topology(name).description for name in TOPOLOGIES.names()}


def _devices() -> dict[str, str]:
    from pghot.sim.compressed.device import DEVICES, load_device

    return {name: load_device(name).description for name in DEVICES.names()}


def _rules() -> dict[str, str]:
    from pghot.rules import RULES

    return {rule.name: rule.summary for rule in RULES.values()}


def _attacks() -> dict[str, str]:
    from pghot.safety.adversary.attacks import ATTACKS

    return {name: summary for name, (summary, _) in ATTACKS.items()}


def _workloads() -> dict[str, str]:
    from pghot.lab.workloads.workload_files import workload_names, workload_summary

    return {name: workload_summary(name) for name in workload_names()}


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
    from pghot.lab.validate import VALIDATIONS, load_validation

    return {name: load_validation(name).title for name in VALIDATIONS.names()}


KINDS: dict[str, Callable[[], dict[str, str]]] = {
    "policies": _policies,
    "sources": _sources,
    "stores": _stores,
    "tiers": _tiers,
    "devices": _devices,
    "rules": _rules,
    "attacks": _attacks,
    "workloads": _workloads,
    "recordings": _recordings,
    "counters": _counters,
    "metrics": _metrics,
    "validations": _validations,
}
_KINDS_HELP = " or ".join(", ".join(KINDS).rsplit(", ", 1))


def listing(kind: str) -> dict[str, str]:
    """Names and summaries of one of `KINDS`."""
    return KINDS[kind]()


def list_(kind: Annotated[str, typer.Argument(help=_KINDS_HELP)], json_: Json = False) -> None:
    """List what can be named: policies, sources, stores, tiers, workloads and more."""
    from pghot.report.name_list import render

    if kind not in KINDS:
        raise unknown_name("kind", kind, list(KINDS))
    found, places = listing(kind), where(kind)
    if json_:
        items = [
            {"name": name, "summary": summary, **({"where": places[name]} if places else {})}
            for name, summary in found.items()
        ]
        print(json.dumps({"schema": "pghot.list/1", "kind": kind, "items": items}))
        return
    print(render(found, places))
