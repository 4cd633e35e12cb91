"""`pghot margin`: the reserve that makes a compressed tier safe, and the search for attacks that break it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pghot.cli.given import GoesWith, refuse_unused
from pghot.cli.shared_options import Json
from pghot.errors import UsageError, unknown_name
from pghot.rules import AccessRule, device_rules, rule_named
from pghot.units import parse_duration_ns, parse_rate_gb_s, parse_size

if TYPE_CHECKING:
    from pghot.safety.adversary.search import Campaign
    from pghot.safety.margin import Margins
    from pghot.sim.compressed.device import CompressedDevice
    from pghot.sim.machine.topology import Compression


MOST_TENANTS = 1024  # each of the device's reports goes through all of them
_GOES_WITH = (
    GoesWith(
        "--adversary: no attack was asked for",
        lambda of: of["adversary"] is not None,
        ("access", "reserve", "tenants", "budget", "seed", "output"),
    ),
    GoesWith("--adversary search", lambda of: of["adversary"] == "search", ("budget", "seed")),
    GoesWith("--output", lambda of: of["output"], ("force",)),
)


def margin(
    ctx: typer.Context,
    device: Annotated[str | None, typer.Option(help="shipped device or a .toml file")] = None,
    tiers: Annotated[str | None, typer.Option(help="tiers whose compressed node to judge")] = None,
    llc: Annotated[str, typer.Option(help="last-level cache")] = "256MiB",
    block: Annotated[str, typer.Option(help="the device's unit of compression")] = "",
    line: Annotated[str, typer.Option(help="cache line")] = "",
    real: Annotated[str, typer.Option(help="bytes of the medium")] = "",
    promised: Annotated[str, typer.Option(help="bytes of pages promised")] = "",
    write_rate: Annotated[str, typer.Option(help="what tenants can write to the device")] = "",
    promotion_rate: Annotated[str, typer.Option(help="what the host can move away")] = "2GB/s",
    batch: Annotated[int, typer.Option(help="pages of one demotion")] = 512,
    grants: Annotated[int, typer.Option(help="pages writable at a time (ro-cow)")] = 1024,
    pinned: Annotated[str, typer.Option(help="what all tenants together may pin")] = "0",
    kill: Annotated[str, typer.Option(help="time to stop a tenant and zero its pages (contained)")] = "10ms",
    protect: Annotated[
        str, typer.Option(help="time to make the node read-only after a warning (writable)")
    ] = "",
    shortcut: Annotated[
        list[str] | None,
        typer.Option(
            help="what the host leaves out: no-flush, ask-batch, charge-growth, charge-line, pin-in-place"
        ),
    ] = None,
    adversary: Annotated[
        str | None, typer.Option(help="try to break it: search, all or an attack's name")
    ] = None,
    access: Annotated[
        str | None, typer.Option(help="access rule under attack; by default that of the tiers")
    ] = None,
    reserve: Annotated[str, typer.Option(help="reserve under attack; by default that of the tiers")] = "",
    tenants: Annotated[int, typer.Option(help="tenants; all collude")] = 2,
    budget: Annotated[int, typer.Option(help="attacks that a search tries")] = 1000,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="of the search")] = 0,
    output: Annotated[str, typer.Option("--output", "-o", help="report.html: the worst attack, drawn")] = "",
    force: Annotated[bool, typer.Option("--force", help="overwrite the output")] = False,
    json_: Json = False,
) -> None:
    """The reserve of a compressed tier for each access rule, and why; with --adversary, what it takes to break one."""
    refuse_unused(ctx, _GOES_WITH)
    from pghot.report.files import check_output
    from pghot.report.reserves import render
    from pghot.safety.margin import Host, margins
    from pghot.sim.compressed.device import load_device

    if output:
        check_output(Path(output), force, (".html",))
    held = _compression(tiers, device)
    described = _device(held.device if device is None else load_device(device), block, line)
    host = Host(
        llc=parse_size(llc),
        write_gb_s=parse_rate_gb_s(write_rate) if write_rate else held.bandwidth_gb_s,
        promotion_gb_s=parse_rate_gb_s(promotion_rate),
        batch_pages=batch,
        grants=grants,
        pinned=parse_size(pinned),
        kill_us=parse_duration_ns(kill) / 1e3,
        protect_us=parse_duration_ns(protect) / 1e3 if protect else None,
        **_shortcuts(shortcut or []),
    )
    found = margins(
        described,
        host,
        parse_size(real) if real else held.real,
        parse_size(promised) if promised else held.promised,
    )
    if adversary is None:
        print(json.dumps(found.to_dict(), allow_nan=False) if json_ else render(found))
        return
    campaign = _attack(
        found,
        held.access if access is None else rule_named(access),
        parse_size(reserve) if reserve else held.reserve,
        tenants,
        adversary=adversary,
        budget=budget,
        seed=seed,
    )
    if output:
        _draw_attack(found, campaign, output, force)
    _print_attack(found, campaign, json_)
    if campaign.lost:
        raise typer.Exit(1)


def _shortcuts(names: list[str]) -> dict[str, Any]:
    from pghot.safety.margin import SHORTCUTS

    for name in names:
        if name not in SHORTCUTS:
            raise unknown_name("shortcut", name, list(SHORTCUTS))
    return {key: value for name in names for key, value in SHORTCUTS[name].items()}


def _attack(
    found: Margins,
    rule: AccessRule,
    reserve: int,
    tenants: int,
    *,
    adversary: str,
    budget: int,
    seed: int,
) -> Campaign:
    """Run the attacks that were asked for, on the scene scaled down."""
    from pghot.cli.compiling import ADVERSARY, announce_compilation
    from pghot.cli.progress import progress_on_stderr
    from pghot.safety.adversary.attacks import ATTACKS
    from pghot.safety.adversary.scene import Scene, scaled

    if rule not in device_rules():
        raise UsageError(
            f"access rule '{rule.name}' has no device to break: only the kernel writes there, and it knows each size "
            "before",
            f"give --access another rule: {', '.join(each.name for each in device_rules())}",
        )
    if adversary not in ("search", "all", *ATTACKS):
        raise unknown_name("attack", adversary, ["search", "all", *ATTACKS])
    if budget < 1 or not 1 <= tenants <= MOST_TENANTS:
        raise UsageError(
            f"--budget {budget} or --tenants {tenants} is out of range",
            f"give --budget 1 or more, --tenants 1 to {MOST_TENANTS}",
        )
    scene = scaled(Scene(found.device, found.host, found.real, found.promised, rule, reserve, tenants))
    announce_compilation(ADVERSARY)
    progress = progress_on_stderr("attacking")
    if adversary == "search":
        from pghot.safety.adversary.search import search

        return search(scene, budget, seed, progress)
    from pghot.safety.adversary.search import run_named

    return run_named(scene, list(ATTACKS) if adversary == "all" else [adversary], progress)


def _draw_attack(found: Margins, campaign: Campaign, output: str, force: bool) -> None:
    from pghot.report.attack_page import render
    from pghot.report.files import write_page

    write_page(render(found, campaign, ["pghot", *sys.argv[1:]]), Path(output), force)
    print(f"wrote {output}", file=sys.stderr)


def _print_attack(found: Margins, campaign: Campaign, json_: bool) -> None:
    from pghot.report.attack_text import attack_facts, render_attack

    if json_:
        print(json.dumps(found.to_dict() | {"adversary": attack_facts(campaign)}, allow_nan=False))
    else:
        print(render_attack(found, campaign))


def _compression(tiers: str | None, device: str | None) -> Compression:
    """The node that compresses: that of the tiers file if one is given, else that of the shipped tiers."""
    from pghot.sim.machine.topology import load_topology

    if tiers is not None and device is not None:
        raise UsageError(
            "--tiers and --device exclude each other", "leave one out: the tiers file names its device"
        )
    held = load_topology("dram-cxl-compressed" if tiers is None else tiers).compression
    if held is None:
        raise UsageError(f"'{tiers}' has no node that compresses", "give tiers with a node with 'compressed'")
    return held


def _device(described: CompressedDevice, block: str, line: str) -> CompressedDevice:
    """The device, with the sizes that the command line gives in place of its own."""
    from pydantic import ValidationError

    from pghot.sim.compressed.device import CompressedDevice

    sizes: dict[str, Any] = {
        key: parse_size(text) for key, text in (("block", block), ("line", line)) if text
    }
    if not sizes:
        return described
    try:
        return CompressedDevice.model_validate(described.model_dump() | sizes)
    except ValidationError as error:
        what = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"--block, --line: {what}", "see `pghot list devices`") from error
