"""The verbs of the lab: compare, list, validate, convert, report summary. Thin: parse, call, print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pghot.cli.given import GoesWith, refuse_unused
from pghot.cli.progress import progress_on_stderr
from pghot.errors import PghotError, UsageError, unknown_name
from pghot.printable import printable
from pghot.units import format_duration, format_share, format_size, parse_share, parse_size

KINDS_HELP = (
    "policies, sources, stores, tiers, devices, attacks, workloads, recordings, "
    "counters, metrics or validations"
)
Json = Annotated[bool, typer.Option("--json", help="print JSON on stdout")]


def _any_takes_sources(policies: str) -> bool:
    from pghot.sim.policies import POLICIES, expand

    return any(POLICIES.get(name).any_source for name in expand(_words(policies)))


_COMPARE_GOES_WITH = (
    GoesWith("the table, not with --json", lambda of: not of["json_"], ("columns",)),
    GoesWith("--output", lambda of: of["output"], ("force",)),
    GoesWith(
        "a policy that takes any source",
        lambda of: _any_takes_sources(of["policies"]),
        ("sources",),
    ),
)


def compare(
    ctx: typer.Context,
    recording: Annotated[
        str, typer.Argument(help="FILE, bundled:NAME, workload:NAME|FILE.toml or masim:FILE")
    ],
    tiers: Annotated[str, typer.Option(help="shipped tiers or a .toml file")] = "dram-cxl",
    fast_share: Annotated[str, typer.Option(help="top tier's share of the footprint, or as-file")] = "20%",
    policies: Annotated[str, typer.Option(help="names or groups, by comma")] = "all",
    sources: Annotated[str, typer.Option(help="sources for policies that take any, by comma")] = "",
    seeds: Annotated[int, typer.Option(help="runs with different seeds")] = 1,
    repeat: Annotated[int, typer.Option(help="passes over the trace")] = 1,
    scale_time: Annotated[str, typer.Option(help="speed of kernel time: auto or a factor")] = "auto",
    warmup: Annotated[str, typer.Option(help="share left out of steady figures")] = "",
    folio: Annotated[str, typer.Option(help="page size: 4KiB or larger")] = "4KiB",
    placement: Annotated[
        str, typer.Option(help="first-touch, slow, interleave or bind:NODE")
    ] = "first-touch",
    threads: Annotated[int | None, typer.Option(help="cores of the program")] = None,
    mlp: Annotated[float | None, typer.Option(help="cache misses in flight per core")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME.OPTION=VALUE", help="option of a policy or source; repeatable"),
    ] = None,
    columns: Annotated[str, typer.Option(help="metrics of the table by comma, or all")] = "",
    bounds: Annotated[bool, typer.Option("--bounds", help="add LRU and CLOCK page-cache bounds")] = False,
    output: Annotated[
        list[str] | None, typer.Option("--output", "-o", help="report.html, table.parquet, .csv, .arrow")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="overwrite outputs")] = False,
    json_: Json = False,
) -> None:
    """Replay a trace over simulated tiers under many policies, and judge whether moving pages pays."""
    refuse_unused(ctx, _COMPARE_GOES_WITH)
    from pghot.report.files import check_output, write_output

    outputs = output or []
    for path in outputs:
        check_output(Path(path), force)
    settings: dict[str, Any] = {
        "fast_share": None if fast_share == "as-file" else parse_share(fast_share),
        "scale_time": None if scale_time == "auto" else _number("--scale-time", scale_time),
        "warmup": parse_share(warmup) if warmup else None,
        "seeds": seeds,
        "repeat": repeat,
        "page_bytes": parse_size(folio.replace(" ", "")),
        "placement": placement,
        "threads": threads,
        "mlp": mlp,
    }
    from pghot.cli.compiling import announcing
    from pghot.lab.compare import compare as run
    from pghot.report.text import chosen_columns, render

    shown = chosen_columns(_words(columns))
    result = run(
        recording,
        tiers,
        _words(policies),
        _words(sources),
        bounds=bounds,
        options=set_ or (),
        progress=announcing(progress_on_stderr("replaying")),
        **settings,
    )
    for path in outputs:
        write_output(result, Path(path), ["pghot", *sys.argv[1:]])
        print(f"wrote {path}", file=sys.stderr)
    if json_:
        print(json.dumps(result.to_dict(), allow_nan=False))
        return
    print(render(result, shown))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{option} '{text}' is not a number", "give a number, or 'auto'") from None


def list_(kind: Annotated[str, typer.Argument(help=KINDS_HELP)], json_: Json = False) -> None:
    """List what can be named: policies, sources, stores, tiers, workloads and more."""
    from pghot.cli.listing import KINDS, listing, where

    if kind not in KINDS:
        raise unknown_name("kind", kind, list(KINDS))
    found, places = listing(kind), where() if kind == "sources" else {}
    if json_:
        items = [
            {"name": name, "summary": summary, **({"where": places[name]} if places else {})}
            for name, summary in found.items()
        ]
        print(json.dumps({"schema": "pghot.list/1", "kind": kind, "items": items}))
        return
    width = max(len(name) for name in found)
    for name, summary in found.items():
        place = f"{places[name]:4}  " if places else ""
        print(printable(f"{name:{width}}  {place}{summary}".rstrip()))


def validate(
    name: Annotated[str, typer.Argument(help="validation or .toml file; all by default")] = "",
    json_: Json = False,
) -> None:
    """Rerun published experiments in the lab; exit 1 when an error exceeds its bar."""
    from pghot.cli.compiling import announcing
    from pghot.lab.validate import VALIDATIONS, run_validation

    results = [
        run_validation(each, announcing(progress_on_stderr(each)))
        for each in ([name] if name else VALIDATIONS.names())
    ]
    if json_:
        found = [result.to_dict() for result in results]
        print(json.dumps(found[0] if name else {"schema": "pghot.validations/1", "validations": found}))
    else:
        for result in results:
            print(f"{printable(result.title)}\npublished in {printable(result.published_in)}\n")
            print(f"{'row':28} {'column':24} {'published':>9} {'simulated':>9} {'error':>7}")
            for cell in result.cells:
                print(
                    f"{printable(cell.row)[:28]:28} {printable(cell.column)[:24]:24} {cell.published:9.3f} "
                    f"{cell.simulated:9.3f} {100 * cell.error:+6.1f}%"
                )
            for line in [*result.order_errors, *result.notes]:
                print(printable(line))
            state = "ok" if result.ok else "MISSED"
            print(
                f"{result.name}: {state}, worst error {format_share(result.worst_error)}, "
                f"bar {format_share(result.bar)}\n"
            )
    if not all(result.ok for result in results):
        raise typer.Exit(1)


def convert(
    source: Annotated[str, typer.Argument(metavar="SRC")],
    target: Annotated[str, typer.Argument(metavar="DST")],
    force: Annotated[bool, typer.Option("--force", help="overwrite DST")] = False,
) -> None:
    """Convert a recording to Parquet and back."""
    from pghot.recording import bundled
    from pghot.recording.convert import convert as run

    path = bundled.path(source) if source.startswith(bundled.PREFIX) else source
    done = run(path, target, force)
    print(f"wrote {target}: {done.slices} slices, {done.rows} rows", file=sys.stderr)
    if done.damage:
        raise PghotError(
            f"{source} is damaged: {done.damage}; {done.dropped_bytes} bytes were left out",
            f"{target} holds the good slices",
        )


def summary(
    recording: Annotated[str, typer.Argument(help="FILE or bundled:NAME")], json_: Json = False
) -> None:
    """Footprint, regions and hot set of a recording."""
    from pghot.recording import bundled
    from pghot.recording.ratios import lines
    from pghot.recording.reader import open_recording
    from pghot.recording.summary import summarise

    is_bundled = recording.startswith(bundled.PREFIX)
    facts = summarise(bundled.open_bundled(recording) if is_bundled else open_recording(recording))
    if json_:
        print(json.dumps(facts))
        return
    print(printable(f"{facts['name']}: {' '.join(facts['command'])}"))
    print(
        f"{format_duration(facts['duration_ns'])} in {facts['slices']} slices; footprint "
        f"{format_size(facts['footprint_bytes'])}; cache {format_size(facts['llc']['bytes'])}"
    )
    print(f"{facts['touches']:,} touches, {facts['misses']:,} misses, {facts['writes']:,} writes")
    if not facts["complete"]:
        print(f"incomplete: {printable(facts['losses']['damage'] or 'the recorder was stopped')}")
    for point in facts["hot_set"]:
        print(
            f"hottest {format_share(point['pages'])} of the pages take "
            f"{format_share(point['misses'])} of the misses"
        )
    for line in lines(facts["compressibility"]):
        print(line)
    for region in facts["regions"]:
        print(
            f"{printable(region['name'])[:40]:40} {region['pages']:>9,} pages {region['misses']:>14,} misses"
        )
