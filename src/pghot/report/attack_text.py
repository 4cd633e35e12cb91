"""What attacks on a compressed tier found, as text and JSON; sizes are those of the real device, not of the scene."""

from __future__ import annotations

from typing import Any

from pghot.report.attack_words import in_words
from pghot.report.reserves import paragraphs, setup
from pghot.safety.adversary.scene import Scene
from pghot.safety.adversary.search import Campaign
from pghot.safety.adversary.trial import AttackOutcome
from pghot.safety.margin import Margins, RuleMargin
from pghot.units import PAGE_BYTES, counted, format_number, format_share, format_size

SHOWN = 12


def attack_facts(campaign: Campaign) -> dict[str, Any]:
    """For JSON: the scene, each attack, and the numbers that replay the worst one."""
    scene = campaign.scene
    return {
        "rule": scene.rule.name,
        "reserve_bytes": scene.real_reserve,
        "rounding_bytes": round(scene.rounding * scene.scale),
        "tenants": scene.tenants,
        "scale": scene.scale,
        "pages": scene.pages,
        "cache_lines": scene.cache_lines,
        "steps": campaign.steps,
        "lost": campaign.lost,
        "worst": campaign.worst.to_dict() | {"least_bytes": real_size(campaign, campaign.worst)},
        "attacks": [
            {
                "name": o.name,
                "least_bytes": real_size(campaign, o),
                "lost_writes": o.lost_writes,
                "steps": o.steps,
            }
            for o in campaign.outcomes
        ],
    }


def real_size(campaign: Campaign, outcome: AttackOutcome) -> int:
    """The least that remained, as it would be on the real device."""
    return round(outcome.least_bytes * campaign.scene.scale)


def render_attack(found: Margins, campaign: Campaign) -> str:
    """The text of `pghot margin --adversary`."""
    lines = [
        *paragraphs([*setup(found), played(campaign.scene)]),
        "",
        f"{'attack':26} {'least remaining':>16} {'of real':>8} {'lost writes':>12} {'steps':>10}",
    ]
    lines += [_row(campaign, outcome) for outcome in campaign.outcomes[:SHOWN]]
    if len(campaign.outcomes) > SHOWN:
        lines.append(f"... and {len(campaign.outcomes) - SHOWN} that came less near")
    return "\n".join([*lines, "", *paragraphs(verdict(found, campaign))])


def played(scene: Scene) -> str:
    """What was attacked, at which scale, and by how much the reserve was rounded."""
    whole = scene.rounding * scene.scale
    rounding = (
        f"; reserve {'+' if whole > 0 else '-'}{format_size(abs(whole))}, as pages and lines do not shrink"
        if abs(whole) >= 0.5
        else ""
    )
    return (
        f"under attack: {scene.rule.name}, reserve {format_size(scene.real_reserve)}, "
        f"{counted(scene.tenants, 'tenant')}; "
        f"played 1:{format_number(scene.scale)} in size and time, {counted(scene.pages, 'page')}, "
        f"{counted(scene.cache_lines, 'line')} of cache{rounding}"
    )


def least(campaign: Campaign, outcome: AttackOutcome) -> str:
    """`real_size` for people."""
    size = real_size(campaign, outcome)
    return ("-" if size < 0 else "") + format_size(abs(size))


def _row(campaign: Campaign, outcome: AttackOutcome) -> str:
    return (
        f"{outcome.name:26} {least(campaign, outcome):>16} "
        f"{format_share(outcome.least_bytes / campaign.scene.real):>8} {outcome.lost_writes:>12,} "
        f"{outcome.steps:>10,}"
    )


def verdict(found: Margins, campaign: Campaign) -> list[str]:
    """Lost or not, the worst attack in words, and what the calculator says."""
    rule, worst = campaign.scene.rule.name, campaign.worst
    margin = found.rules[rule]
    if campaign.lost:
        first = f"DATA LOST: '{worst.name}' exceeds the medium by {format_size(-real_size(campaign, worst))}"
    else:
        first = f"no data lost in {counted(campaign.steps, 'step')} of {counted(len(campaign.outcomes), 'attack')}"
    need = (
        f"needs a reserve of {format_size(margin.reserve_bytes)}"
        if margin.fits
        else "cannot be made safe by a reserve"
    )
    return [
        f"{first}; the calculator: {rule} {need}{unresolved(campaign, margin)}",
        f"worst: {in_words(worst.strategy, campaign.scene)}; seed {worst.seed}; at step {worst.worst_step:,}",
    ]


def unresolved(campaign: Campaign, margin: RuleMargin) -> str:
    """Says so when the reserve falls short by less than the scaled-down scene can show."""
    short = margin.reserve_bytes - campaign.scene.real_reserve
    told = 2 * PAGE_BYTES * campaign.scene.scale
    if campaign.lost or not 0 < short < told:
        return ""
    more = format_size(short)
    return f", {more} more than was kept: too little to show where two pages stand for {format_size(told)}"
