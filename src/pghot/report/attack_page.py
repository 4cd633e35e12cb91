"""Attacks on a compressed tier as one self-contained HTML page: the worst of them as a picture, all in a table."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from html import escape

from pghot.report.attack_charts import attack_chart
from pghot.report.attack_rules import rules_table
from pghot.report.attack_text import SHOWN, least, played, verdict
from pghot.report.attack_words import in_words
from pghot.report.html import drawn, listed, page
from pghot.report.reserves import setup
from pghot.safety.adversary.search import Campaign
from pghot.safety.adversary.trial import history
from pghot.safety.margin import Margins
from pghot.units import format_share, format_size
from pghot.version import __version__


def render(found: Margins, campaign: Campaign, command: Sequence[str]) -> str:
    """The page; every string from outside is escaped."""
    scene = campaign.scene
    first, *others = verdict(found, campaign)
    return page(
        f"{scene.rule.name} under attack",
        f"Can a tenant make it lose data? {scene.rule.name}, {format_size(scene.real_reserve)} in reserve",
        f"<p class=verdict>{escape(first)}</p><p>All figures are simulated.</p>"
        f"{listed([*setup(found), played(scene), *others])}"
        f"{drawn([attack_chart(campaign, history(scene, campaign.worst))])}"
        f"<h2>Rules</h2><p>As the calculator says; {escape(scene.rule.name)} was attacked.</p>"
        f"<div class=wide>{rules_table(found, campaign)}</div>"
        f"<h2>Attacks</h2><div class=wide>{_attacks(campaign)}</div>"
        f"<h2>Reproduce</h2><pre>{escape(shlex.join(command))}</pre><p>pghot {__version__}</p>",
    )


def _attacks(campaign: Campaign) -> str:
    heads = ("attack", "least remaining", "of real", "lost writes", "steps", "what the tenants do")
    body = ""
    for outcome in campaign.outcomes[:SHOWN]:
        cells = (
            least(campaign, outcome),
            format_share(outcome.least_bytes / campaign.scene.real),
            f"{outcome.lost_writes:,}",
            f"{outcome.steps:,}",
            in_words(outcome.strategy, campaign.scene),
        )
        best = " class=best" if outcome is campaign.worst else ""
        body += (
            f"<tr{best}><td>{escape(outcome.name)}</td>{''.join(f'<td>{escape(c)}</td>' for c in cells)}</tr>"
        )
    more = len(campaign.outcomes) - SHOWN
    rest = f"<p>and {more:,} that came less near</p>" if more > 0 else ""
    head = "".join(f"<th>{title}</th>" for title in heads)
    return f"<table class=words><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"
