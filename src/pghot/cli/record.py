"""`pghot record`: run a program and write down every page that it touches."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pghot.cli.streams import stdout_kept_for_data
from pghot.cli.targets import Cgroup, Children, Pids, Set
from pghot.errors import PghotError, UsageError
from pghot.printable import printable
from pghot.units import parse_duration_ns, parse_share, parse_size

if TYPE_CHECKING:
    from pghot.service.live_record import RecordingPlan
    from pghot.sources.qemu.record import Outcome

_SCHEMA = "pghot.record/1"


def record(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE.pghot] -- CMD [ARGS]...", help="recording to make, command to run"),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="the recording, instead of the first argument")
    ] = "",
    source: Annotated[
        str, typer.Option(help="who sees the accesses: qemu (exact, emulated), or live sources by comma")
    ] = "qemu",
    pid: Pids = None,
    cgroup: Cgroup = "",
    children: Children = True,
    stall_share: Annotated[
        str, typer.Option(help="live: share of the CPU time that waits for memory")
    ] = "50%",
    latency: Annotated[float, typer.Option(min=1, help="live: ns of a cache miss while recording")] = 100.0,
    set_: Set = None,
    slice_: Annotated[str, typer.Option("--slice", help="time in one slice (live: at least 10 ms)")] = "",
    llc: Annotated[str, typer.Option(help="size of the modelled last-level cache")] = "32 MiB",
    llc_ways: Annotated[int, typer.Option(help="its associativity")] = 16,
    follow_children: Annotated[
        bool, typer.Option("--follow-children", help="record forked processes too")
    ] = False,
    max_duration: Annotated[
        str, typer.Option("--max-duration", "--duration", help="end after this wall-clock time")
    ] = "",
    cpu: Annotated[str, typer.Option(help="CPU model that the program sees (qemu -cpu)")] = "max",
    note: Annotated[
        list[str] | None, typer.Option(help="free text for the recording; may be repeated")
    ] = None,
    compressibility: Annotated[
        bool,
        typer.Option("--compressibility", help="sample page contents: how well LZ4 and zstd compress them"),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="overwrite an existing recording")] = False,
    json_: Annotated[bool, typer.Option("--json", help="print what was recorded as JSON on stdout")] = False,
) -> None:
    """Record which pages programs touch: exactly under emulation, or as live sources see it.

    pghot record redis.pghot -- redis-server --port 7777

    sudo pghot record --source faults -p 1234 --duration 60s -o live.pghot
    """
    if source != "qemu":
        from pghot.service.live_record import Estimate, RecordingPlan

        if not output and not words:
            raise UsageError("no recording named", "pghot record --source faults -p PID -o FILE.pghot")
        given = words or []
        path, command = (Path(output), given) if output else (Path(given[0]), given[1:])
        plan = RecordingPlan(
            path,
            slice_ms=max(10, parse_duration_ns(slice_ or "100 ms") // 1_000_000),
            duration_s=parse_duration_ns(max_duration) / 1e9 if max_duration else 0.0,
            estimate=Estimate(parse_share(stall_share), latency),
            command=tuple(command),
            notes=tuple(note or ()),
            force=force,
            compressibility=compressibility,
        )
        _record_live(plan, source, set_ or [], json_, pid, cgroup, children)
        return
    if pid or cgroup:
        raise UsageError("--source qemu records a command only", "use --source faults or another live source")
    if not words:
        raise UsageError("no command to record", "pghot record FILE.pghot -- COMMAND")
    from pghot.sources.qemu.progress import Progress
    from pghot.sources.qemu.record import record as run
    from pghot.sources.qemu.settings import RecordSettings

    path, command = split_words(words, output)
    settings = RecordSettings(
        slice_ns=parse_duration_ns(slice_ or "1 ms"),
        llc_bytes=parse_size(llc),
        llc_ways=llc_ways,
        follow_children=follow_children,
        force=force,
        max_duration_s=parse_duration_ns(max_duration) / 1e9 if max_duration else 0.0,
        cpu=cpu,
        notes=tuple(note or ()),
        compressibility=compressibility,
    )
    with stdout_kept_for_data(json_):
        outcome = run(command, path, settings, Progress())
    _report(outcome, as_json=json_)
    if outcome.died_at_once:
        raise PghotError(
            f"'{command[0]}' died at once: {outcome.ended}",
            "its own messages are above; does it run without pghot?",
        )
    if outcome.interrupted:
        raise typer.Exit(130)


def _record_live(
    plan: RecordingPlan,
    source: str,
    options: list[str],
    as_json: bool,
    pid: list[int] | None,
    cgroup: str,
    children: bool,
) -> None:
    from pghot.cli.live import live_settings, status_on_stderr, targets_of
    from pghot.kernel.sysroot import SysRoot
    from pghot.machine.linux import MoverSettings
    from pghot.service.live_record import record_live

    settings = live_settings(source, "none", options, MoverSettings())
    with targets_of(plan.command, pid, cgroup, children, as_json) as targets:
        recorded = record_live(SysRoot(), replace(settings, targets=targets), plan, status_on_stderr())
    for problem in recorded.problems:
        print(f"note: {printable(problem)}", file=sys.stderr)
    facts = {"schema": _SCHEMA, **recorded.facts}
    print(f"recorded {facts['slices']:,} slices, {facts['rows']:,} rows to {plan.path}", file=sys.stderr)
    if as_json:
        print(json.dumps(facts))
    if recorded.interrupted:
        raise typer.Exit(130)


def split_words(words: list[str], output: str) -> tuple[Path, list[str]]:
    """The recording's path and the command. Without `--output` the path is the first word, a *.pghot."""
    if output:
        path, command = output, words
    else:
        path, command = words[0], words[1:]
        if not path.endswith(".pghot"):
            raise UsageError(
                f"'{path}' does not name a recording", "pghot record FILE.pghot -- COMMAND, or use -o"
            )
    if not command:
        raise UsageError("no command to record", f"pghot record {path} -- COMMAND")
    return Path(path), command


def _report(outcome: Outcome, as_json: bool) -> None:
    from pghot.sources.qemu.progress import State, describe

    state = State(
        outcome.wall_s,
        outcome.virtual_ns,
        outcome.references,
        outcome.slices,
        outcome.footprint,
        outcome.file_bytes,
    )
    print(describe(state).replace("recording", "recorded", 1), file=sys.stderr)
    print(f"the program: {outcome.ended}, {outcome.threads} working thread(s)", file=sys.stderr)
    for name in outcome.not_followed:
        print(f"not followed: {printable(name)} (use --follow-children)", file=sys.stderr)
    if as_json:
        print(json.dumps(_facts(outcome)))


def _facts(outcome: Outcome) -> dict[str, Any]:
    return {
        "schema": _SCHEMA,
        "recording": str(outcome.path),
        "exit_status": outcome.status,
        "interrupted": outcome.interrupted,
        "virtual_ns": outcome.virtual_ns,
        "wall_s": outcome.wall_s,
        "references": outcome.references,
        "slices": outcome.slices,
        "footprint_pages": outcome.footprint,
        "file_bytes": outcome.file_bytes,
        "threads": outcome.threads,
        "not_followed": list(outcome.not_followed),
    }
