"""`pghot record --source faults ...`: one run of the live loop that moves nothing and writes a recording."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from pghot.counters import LOSSES
from pghot.kernel.sysroot import SysRoot
from pghot.live.journal import Journal
from pghot.live.live_settings import LiveSettings
from pghot.live.loop import Live
from pghot.live.owner import changes_machine, owned
from pghot.live.run import RunSettings, Say, end, journal_path, rounds
from pghot.live.sighted_contents import SightedContents
from pghot.live.slices import NS_PER_INSTRUCTION, Estimate, SliceRecorder
from pghot.live.status import status
from pghot.live.status_facts import SourceFacts
from pghot.live.stopping import StopSignals
from pghot.recording.trace import TraceInfo
from pghot.recording.writer import RecordingWriter


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """What `pghot record` was told beside sources and targets."""

    path: Path
    slice_ms: int = 100
    duration_s: float = 0.0
    estimate: Estimate = field(default_factory=Estimate)
    command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    force: bool = False
    compressibility: bool = False


class RecordedFacts(TypedDict):
    """The JSON of `pghot record --json`, without its schema."""

    recording: str
    slices: int
    rows: int
    file_bytes: int
    sources: list[SourceFacts]
    interrupted: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was recorded.

    problems      what could not be put back, in words
    nothing_seen  why the recording would be empty: it was not kept then
    """

    facts: RecordedFacts
    problems: list[str]
    nothing_seen: list[str]


def record_live(root: SysRoot, settings: LiveSettings, plan: RecordingPlan, say: Say) -> Recorded:
    """Record until the programs end, the time is over or the user interrupts.

    Raises `PghotError` when a source fails or the recording cannot be written; knobs are put back in any case.
    """
    settings.targets.check(root)
    with (
        owned(root, changes_machine(settings)),
        Journal(journal_path(None, "record"), root) as journal,
    ):
        live = Live(root, settings, journal)
        info = _info(live, plan, root)
        with RecordingWriter(plan.path, info, force=plan.force) as writer:
            recorder = SliceRecorder(
                root,
                writer,
                live.spaces,
                slice_ns=info.slice_ns,
                estimate=plan.estimate,
                contents=SightedContents(root, live.spaces, writer) if plan.compressibility else None,
            )
            live.recorder = recorder
            with StopSignals() as stop:
                try:
                    live.start()
                    rounds(live, RunSettings(min(100, plan.slice_ms), plan.duration_s), say, stop)
                finally:
                    problems = end(live, journal)
            facts = status(live)
            recorder.finish(lost_of(source["counters"] for source in facts["sources"]))
    recorded: RecordedFacts = {
        "recording": str(plan.path),
        "slices": writer.slices,
        "rows": writer.rows,
        "file_bytes": writer.bytes_written,
        "sources": facts["sources"],
        "interrupted": stop.asked,
        "seconds": facts["seconds"],
    }
    why = facts["nothing_seen"] or ["too little was seen for one slice"]
    return Recorded(recorded, problems, [] if writer.rows else why)


def _info(live: Live, plan: RecordingPlan, root: SysRoot) -> TraceInfo:
    """The head of a live recording."""
    return TraceInfo(
        name=plan.path.stem,
        source="+".join(source.name for source in live.sources),
        slice_ns=plan.slice_ms * 1_000_000,
        ns_per_instruction=NS_PER_INSTRUCTION,
        mlp=plan.estimate.mlp,
        command=plan.command,
        kernel=root.osrelease(),
        notes=(plan.estimate.note(), *(source.sampling() for source in live.sources), *plan.notes),
    )


def lost_of(counters: Iterable[Mapping[str, int]]) -> int:
    """What sources with these counters lost, at least."""
    return sum(each.get(name, 0) for each in counters for name in LOSSES)
