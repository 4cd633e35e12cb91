"""`pghot record`: record which pages programs touch. Chooses one of the two recorders and passes on its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pghot.cli.given import GoesWith, refuse_unused
from pghot.cli.record_emulated import record_emulated
from pghot.cli.record_live import record_live
from pghot.cli.shared_options import (
    CHOSEN,
    NODES,
    Cgroup,
    Children,
    FastNodes,
    LeaveOutCgroup,
    LeaveOutName,
    LeaveOutNodes,
    LeaveOutUser,
    MinSize,
    Names,
    Pids,
    Set,
    SlowNodes,
    Users,
)
from pghot.errors import UsageError
from pghot.units import parse_duration_ns, parse_share, parse_size

_GOES_WITH = (
    GoesWith(
        "--source qemu",
        lambda of: of["source"] == "qemu",
        ("llc", "llc_ways", "cpu", "max_size", "takes", "stacks"),
    ),
    GoesWith(
        "a live source, such as --source faults",
        lambda of: of["source"] != "qemu",
        ("pid", *CHOSEN, *NODES, "set_", "stall_share", "latency"),
    ),
    GoesWith("--pid, or a command", lambda of: not any(of[each] for each in CHOSEN), ("children",)),
)


def record(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE.pghot] -- CMD [ARGS]...", help="recording to write, command to run"),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="the recording, instead of the first argument")
    ] = "",
    source: Annotated[
        str,
        typer.Option(help="who sees the accesses: qemu (emulated, exact), or live sources, comma-separated"),
    ] = "qemu",
    pid: Pids = None,
    cgroup: Cgroup = None,
    name: Names = None,
    user: Users = None,
    min_size: MinSize = None,
    leave_out_name: LeaveOutName = None,
    leave_out_user: LeaveOutUser = None,
    leave_out_cgroup: LeaveOutCgroup = None,
    children: Children = True,
    fast_nodes: FastNodes = None,
    slow_nodes: SlowNodes = None,
    leave_out_nodes: LeaveOutNodes = None,
    stall_share: Annotated[
        str, typer.Option(help="live: share of CPU time spent waiting for memory")
    ] = "50%",
    latency: Annotated[
        float, typer.Option(min=1, help="live: latency of a cache miss while recording, ns")
    ] = 100.0,
    set_: Set = None,
    slice_: Annotated[
        str | None,
        typer.Option(
            "--slice", help="time in one slice; emulated: as fine as --max-size allows (live: at least 10 ms)"
        ),
    ] = None,
    max_size: Annotated[
        str, typer.Option(help="emulated: slices are joined at the end until the file is no larger")
    ] = "64 MiB",
    llc: Annotated[
        str, typer.Option(help="sizes of the modelled last-level caches, smallest first")
    ] = "1 MiB, 4 MiB, 32 MiB",
    llc_ways: Annotated[int, typer.Option(help="associativity of these caches")] = 16,
    takes: Annotated[
        str | None, typer.Option(help="emulated: time that the program takes by itself, to show what is left")
    ] = None,
    max_duration: Annotated[
        str | None, typer.Option("--max-duration", "--duration", help="end after this wall-clock time")
    ] = None,
    cpu: Annotated[str, typer.Option(help="CPU model that the program sees (qemu -cpu)")] = "max",
    note: Annotated[
        list[str] | None, typer.Option(help="free text for the recording; may be repeated")
    ] = None,
    compressibility: Annotated[
        bool,
        typer.Option("--compressibility", help="sample page contents: how well LZ4 and zstd compress them"),
    ] = False,
    stacks: Annotated[
        bool, typer.Option("--stacks", help="emulated: which calls mapped the memory, for explain and soar")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="overwrite an existing recording")] = False,
    json_: Annotated[bool, typer.Option("--json", help="print what was recorded as JSON on stdout")] = False,
) -> None:
    """Record which pages programs touch: exactly, under emulation, or as live sources see it.

    pghot record redis.pghot -- redis-server --port 7777

    sudo pghot record --source faults -p 1234 --duration 60s -o live.pghot
    """
    refuse_unused(ctx, _GOES_WITH)
    duration_s = 0.0 if max_duration is None else parse_duration_ns(max_duration) / 1e9
    if source == "qemu":
        from pghot.recorder.record_settings import FINEST_SLICE_NS, RecordSettings

        if not words:
            raise UsageError("no command to record", "pghot record FILE.pghot -- COMMAND")
        path, command = split_words(words, output)
        settings = RecordSettings(
            slice_ns=FINEST_SLICE_NS if slice_ is None else parse_duration_ns(slice_),
            max_bytes=parse_size(max_size) if slice_ is None else 0,
            cache_bytes=tuple(parse_size(size) for size in llc.split(",")),
            llc_ways=llc_ways,
            children=children,
            takes_s=0.0 if takes is None else parse_duration_ns(takes) / 1e9,
            force=force,
            max_duration_s=duration_s,
            cpu=cpu,
            notes=tuple(note or ()),
            compressibility=compressibility,
            stacks=stacks,
        )
        record_emulated(command, path, settings, json_)
        return
    from pghot.cli.live_options import live_settings
    from pghot.cli.named import named
    from pghot.cli.node_options import node_choice
    from pghot.live.record_live import RecordingPlan
    from pghot.live.slices import Estimate

    if not output and not words:
        raise UsageError("no recording named", "pghot record --source faults -p PID -o FILE.pghot")
    given = words or []
    path, command = (Path(output), given) if output else (Path(given[0]), given[1:])
    programs = named(command, ctx.params)
    plan = RecordingPlan(
        path,
        slice_ms=max(10, parse_duration_ns("100 ms" if slice_ is None else slice_) // 1_000_000),
        duration_s=duration_s,
        estimate=Estimate(parse_share(stall_share), latency),
        command=tuple(command),
        notes=tuple(note or ()),
        force=force,
        compressibility=compressibility,
    )
    record_live(
        plan,
        live_settings(source, "none", set_ or [], nodes=node_choice(ctx.params)),
        programs.targets(json_),
        json_,
    )


def split_words(words: list[str], output: str) -> tuple[Path, list[str]]:
    """The recording's path and the command. Without `--output` the path is the first word and ends in .pghot."""
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
