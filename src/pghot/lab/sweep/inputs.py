"""What stands behind the names in a study: files where workers find them, and digests of what they say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from inspect import getsourcefile
from pathlib import Path

from pghot.lab.run_spec import RunSpec
from pghot.lab.traces import load_trace
from pghot.lab.workloads.workload_files import workload_names
from pghot.recording.bytesource import open_source
from pghot.recording.reader import Recording
from pghot.sim.machine.curves import CURVES
from pghot.sim.machine.topology import Topology
from pghot.sim.policies import POLICIES
from pghot.sim.sources import SOURCES

_FILES = ("workload:", "masim:")
_PIECE = 1 << 24


def place_of(recording: str) -> str:
    """The same trace by a name that holds in every directory; what is not there keeps its name."""
    if recording.startswith("bundled:") or "://" in recording:
        return recording
    prefix = next((each for each in _FILES if recording.startswith(each)), "")
    name = recording.removeprefix(prefix)
    if prefix == "workload:" and name in workload_names():
        return recording
    return f"{prefix}{Path(name).absolute()}" if Path(name).exists() else recording


def recording_digest(recording: str) -> str:
    """32 hex digits that stand for what a trace holds. A bundled workload is code, so its name is enough.

    Raises what opening the trace raises.
    """
    trace = load_trace(recording)
    if isinstance(trace, Recording):
        return trace.seal[:32] if trace.sealed else _digest_of_file(recording)
    prefix = next(each for each in _FILES if recording.startswith(each))
    name = recording.removeprefix(prefix)
    if prefix == "workload:" and name in workload_names():
        return text_digest(recording)
    return _digest_of_file(name)


def tiers_digest(tiers: Topology) -> str:
    """32 hex digits that stand for a machine: its nodes, costs, devices and latency curves."""
    curves = {node.curve_name: CURVES.load(node.curve_name).model_dump() for node in tiers.nodes}
    return text_digest(json.dumps([tiers.model_dump(mode="json"), curves], sort_keys=True))


def foreign_code(runs: Sequence[RunSpec]) -> list[str]:
    """Digests of the modules of other packages from which the runs have policies or sources."""
    classes = [POLICIES.get(spec.policy) for spec in runs]
    heard = [SOURCES.get(name) for spec in runs for name in spec.sources]
    files = {getsourcefile(each) for each in (*classes, *heard) if not each.__module__.startswith("pghot.")}
    return sorted(_digest_of_file(path) for path in files if path)


def text_digest(text: str) -> str:
    """32 hex digits that stand for a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _digest_of_file(path: str) -> str:
    source, state = open_source(path), hashlib.blake2b(digest_size=16)
    for offset in range(0, source.size, _PIECE):
        state.update(source.read(offset, _PIECE))
    return state.hexdigest()
