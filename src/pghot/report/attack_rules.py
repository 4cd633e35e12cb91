"""The access rules side by side: the reserve that each needs, whether one was kept, and which of them was attacked."""

from __future__ import annotations

from html import escape

from pghot.report.attack_text import least
from pghot.safety.adversary.search import Campaign
from pghot.safety.margin import Margins
from pghot.units import format_size


def rules_table(found: Margins, campaign: Campaign) -> str:
    """A row for each rule, the attacked one marked."""
    body = ""
    for name, margin in found.rules.items():
        attacked = name == campaign.scene.rule.name
        needs = format_size(margin.reserve_bytes) if margin.fits else "no reserve is enough"
        cells = (
            needs,
            _kept(campaign, margin.fits, margin.reserve_bytes),
            _attack(campaign) if attacked else "not attacked",
        )
        mark = " class=best" if attacked else ""
        body += (
            f"<tr{mark}><td>{escape(name)}</td>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        )
    heads = ("rule", "reserve it needs", f"{format_size(campaign.scene.real_reserve)} in reserve", "attacks")
    head = "".join(f"<th>{title}</th>" for title in heads)
    return f"<table class=words><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _kept(campaign: Campaign, fits: bool, needed_bytes: float) -> str:
    """Whether the reserve that was kept is enough for a rule, as the calculator says."""
    return "safe" if fits and needed_bytes <= campaign.scene.real_reserve else "can be broken"


def _attack(campaign: Campaign) -> str:
    if campaign.lost:
        return f"broken by '{campaign.worst.name}'"
    return f"held: at least {least(campaign, campaign.worst)} remained"
