"""`pghot record`: run a program and write down every page that it touches."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pghot.errors import PghotError, UsageError
from pghot.units import parse_duration_ns, parse_size

if TYPE_CHECKING:
    from pghot.sources.qemu.record import Outcome

_SCHEMA = "pghot.record/1"


def record(
    words: Annotated[
        list[str],
        typer.Argument(metavar="[FILE.pghot] -- CMD [ARGS]...", help="recording to make, command to run"),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", help="the recording, instead of the first argument")
    ] = "",
    source: Annotated[
        str, typer.Option(help="who sees the accesses: qemu (exact, user-mode emulation)")
    ] = "qemu",
    slice_: Annotated[str, typer.Option("--slice", help="virtual time in one slice")] = "1 ms",
    llc: Annotated[str, typer.Option(help="size of the modelled last-level cache")] = "32 MiB",
    llc_ways: Annotated[int, typer.Option(help="its associativity")] = 16,
    follow_children: Annotated[
        bool, typer.Option("--follow-children", help="record forked processes too")
    ] = False,
    max_duration: Annotated[str, typer.Option(help="end the program after this wall-clock time")] = "",
    cpu: Annotated[str, typer.Option(help="CPU model that the program sees (qemu -cpu)")] = "max",
    note: Annotated[
        list[str] | None, typer.Option(help="free text for the recording; may be repeated")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="overwrite an existing recording")] = False,
    json_: Annotated[bool, typer.Option("--json", help="print what was recorded as JSON on stdout")] = False,
) -> None:
    """Run a program and record which pages it touches, exactly; no root needed.

    pghot record redis.pghot -- redis-server --port 7777
    """
    from pghot.sources.qemu.progress import Progress
    from pghot.sources.qemu.record import record as run
    from pghot.sources.qemu.settings import RecordSettings

    if source != "qemu":
        raise UsageError(f"unknown recording source '{source}'", "known: qemu")
    path, command = split_words(words, output)
    settings = RecordSettings(
        slice_ns=parse_duration_ns(slice_),
        llc_bytes=parse_size(llc),
        llc_ways=llc_ways,
        follow_children=follow_children,
        force=force,
        max_duration_s=parse_duration_ns(max_duration) / 1e9 if max_duration else 0.0,
        cpu=cpu,
        notes=tuple(note or ()),
    )
    outcome = run(command, path, settings, Progress())
    _report(outcome, as_json=json_)
    if outcome.died_at_once:
        raise PghotError(
            f"'{command[0]}' died at once: {outcome.ended}",
            "its own messages are above; does it run without pghot?",
        )
    if outcome.interrupted:
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
        print(f"not followed: {name} (use --follow-children)", file=sys.stderr)
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
