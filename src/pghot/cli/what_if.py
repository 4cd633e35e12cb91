"""`pghot run --what-if`: record on a machine that has no slow tier, then simulate the tiers in the lab."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from pghot.cli.compiling import announcing
from pghot.cli.live_options import live_settings
from pghot.cli.named import Named
from pghot.cli.play import play_recording
from pghot.cli.progress import progress_on_stderr
from pghot.cli.record_emulated import record_emulated
from pghot.cli.record_live import record_live
from pghot.cli.streams import stdout_kept_for_data
from pghot.cli.view import require_terminal
from pghot.engine.accesses import Sees, by_mechanism, sees_top_tier
from pghot.errors import UnsupportedError, UsageError
from pghot.kernel.sysroot import SysRoot
from pghot.lab.capacity import size_nodes
from pghot.lab.compare import BASELINES, DEVICE_MOVER, compare, default_sources, plan_runs
from pghot.lab.dealt import usable_cpus
from pghot.live.record_live import RecordingPlan
from pghot.live.sources import LIVE_SOURCES
from pghot.recorder.record_settings import RecordSettings
from pghot.report.comparison_text import chosen_columns, render
from pghot.report.files import EXTENSIONS, check_output, write_output
from pghot.sim.machine.topology import Topology, load_topology
from pghot.trusted import temporary_place
from pghot.units import PAGE_BYTES

EMULATOR = "qemu"
# Just enough to judge the chosen policy by: somebody waits for each replay.
_BESIDE = (*BASELINES, "pghot-default", "pghot-precise", "numab2", "oracle-static")


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What is asked.

    tiers        name or file of the tiers to simulate
    fast_share   the top tier's share of the footprint
    policy       simulated along with others, see `policies_beside`
    source       what records the accesses; None: the best that works here, and for `cache_bytes` the emulator
    policies     what is simulated instead
    sources      what the simulated policies hear; empty: the tiers' own
    cache_bytes  caches that the emulator models; None: as `pghot record`
    options      "SOURCE.OPTION=VALUE"
    duration_s   0: until the programs end
    outputs      files for the page and the table
    force        whether those may be there
    view         play what was recorded on a full screen before it is simulated
    """

    tiers: str
    fast_share: float
    policy: str
    source: str | None = None
    policies: tuple[str, ...] | None = None
    sources: tuple[str, ...] = ()
    cache_bytes: tuple[int, ...] | None = None
    options: tuple[str, ...] = ()
    duration_s: float = 0.0
    outputs: tuple[Path, ...] = ()
    force: bool = False
    view: bool = False

    @property
    def simulated(self) -> list[str]:
        """The policies of the replay."""
        return policies_beside(self.policy) if self.policies is None else list(self.policies)


def what_if(asked: WhatIf, programs: Named, as_json: bool) -> None:
    """Record what the programs access, with a source that works here, and replay that on simulated tiers."""
    if asked.view:
        require_terminal("--view", "leave it out: the table comes without it", stdout_too=not as_json)
    topology = load_topology(asked.tiers)
    for path in asked.outputs:
        check_output(path, asked.force, EXTENSIONS)
    check_simulation(topology, asked)
    source = _source(asked, bool(programs.command))
    if source == EMULATOR and asked.options:
        raise UsageError("--set goes with a live source, and only the emulator works here", "leave it out")
    with tempfile.TemporaryDirectory(prefix="pghot-what-if", dir=temporary_place()) as place:
        path = Path(place, "seen.pghot")
        print(f"recording with {source}; then {asked.tiers} is simulated", file=sys.stderr)
        with stdout_kept_for_data(as_json):
            _record(path, source, asked, programs)
        if asked.view:
            play_recording(str(path))
        result = compare(
            path,
            topology,
            [*asked.simulated, *([DEVICE_MOVER] if topology.compression else [])],
            asked.sources,
            fast_share=asked.fast_share,
            workers=usable_cpus(),
            progress=announcing(progress_on_stderr("replaying")),
        )
    for path in asked.outputs:
        write_output(result, path, ["pghot", *sys.argv[1:]], asked.force)
        print(f"wrote {path}", file=sys.stderr)
    print(json.dumps(result.to_dict(), allow_nan=False) if as_json else render(result, chosen_columns([])))
    print(
        f"what-if: accesses as {source} saw them here, tiers and moves simulated; nothing was moved",
        file=sys.stderr,
    )


def _record(path: Path, source: str, asked: WhatIf, programs: Named) -> None:
    if source == EMULATOR:
        settings = RecordSettings(children=programs.running.children, max_duration_s=asked.duration_s)
        if asked.cache_bytes is not None:
            settings = replace(settings, cache_bytes=asked.cache_bytes)
        record_emulated(programs.command, path, settings, as_json=False)
        return
    record_live(
        RecordingPlan(path, duration_s=asked.duration_s, command=programs.command),
        live_settings(source, "none", asked.options),
        programs.targets(data_on_stdout=False),
        as_json=False,
    )


def policies_beside(policy: str) -> list[str]:
    """The policies to simulate: the chosen one, along with baselines, a bound and the kernel's own.

    >>> policies_beside("hemem")
    ['none', 'all-fast', 'pghot-default', 'pghot-precise', 'numab2', 'oracle-static', 'hemem']
    """
    return list(dict.fromkeys((*_BESIDE, policy)))


def check_simulation(topology: Topology, asked: WhatIf) -> None:
    """Raise now, before the program runs, the `UsageError` that the simulation would raise after it."""
    plan_runs(asked.simulated, asked.sources or default_sources(topology))
    size_nodes(topology, 1, PAGE_BYTES, asked.fast_share)


def _source(asked: WhatIf, command: bool) -> str:
    """What records. Raises `UsageError`, `UnsupportedError`."""
    if asked.source is not None:
        return asked.source
    if asked.cache_bytes is None:
        return choose_source(command)
    if not command:
        raise UsageError("--llc goes with a command that pghot starts in the emulator", "give it: -- CMD")
    return EMULATOR


def witnesses() -> list[str]:
    """The live sources that, each alone, show what programs access on a machine with a single tier; best first.

    >>> witnesses()[:4]
    ['ibs', 'pebs', 'spe', 'idle']
    """
    able = [
        (get_args(Sees).index(source.sees), by_mechanism(source), name)
        for name, source in LIVE_SOURCES.usable().items()
        if source.mechanism is not None and source.released and sees_top_tier(source)
    ]
    return [name for *_, name in sorted(able)]


def choose_source(command: bool, root: SysRoot | None = None) -> str:
    """The best source on this machine: a live one, else the emulator if there is a command to start in it.

    Raises `UnsupportedError` if nothing here can see what running programs access.
    """
    root = root or SysRoot()
    for name in witnesses():
        if all(need.met for need in LIVE_SOURCES.make(name, root).needs()):
            return name
    if command:
        return EMULATOR
    raise UnsupportedError(
        "no live source works here", "see `pghot doctor`; a command that pghot starts can be emulated: -- CMD"
    )
