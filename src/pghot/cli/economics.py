"""`pghot economics`: what a compressed tier saves and costs under each access rule."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated

import typer

from pghot.cli.progress import progress_on_stderr
from pghot.cli.shared_options import Json
from pghot.units import parse_rate_gb_s, parse_share, parse_size


def economics(
    recordings: Annotated[
        list[str] | None, typer.Argument(help="FILE, bundled:NAME or workload:NAME; all bundled by default")
    ] = None,
    tiers: Annotated[
        str, typer.Option(help="tiers with a node that compresses, or a file")
    ] = "dram-cxl-compressed",
    fast_share: Annotated[str, typer.Option(help="top tier's share of the footprint")] = "20%",
    llc: Annotated[str, typer.Option(help="last-level cache")] = "256MiB",
    promotion_rate: Annotated[str, typer.Option(help="what the host can move away")] = "2GB/s",
    json_: Json = False,
) -> None:
    """Memory saved, slowdown and reserve of a compressed tier, for each recording and access rule."""
    from pghot.cli.compiling import announcing
    from pghot.lab.economics import economics as run
    from pghot.recording import bundled
    from pghot.report.economics_table import render
    from pghot.safety.margin import Host
    from pghot.sim.machine.topology import load_topology

    topology = load_topology(tiers)
    host = Host(llc=parse_size(llc), promotion_gb_s=parse_rate_gb_s(promotion_rate))
    if (
        held := topology.compression
    ) is not None:  # what tenants can write is its link's, as for `pghot margin`
        host = replace(host, write_gb_s=held.bandwidth_gb_s)
    chosen = recordings or [f"{bundled.PREFIX}{name}" for name in bundled.names()]
    found = run(chosen, topology, host, parse_share(fast_share), announcing(progress_on_stderr("replaying")))
    print(json.dumps(found.to_dict(), allow_nan=False) if json_ else render(found))
