"""Reserves as text: device and host, what the cache can hold back, and the terms of each access rule."""

from __future__ import annotations

import textwrap

from pghot.safety.margin import Margins, RuleMargin
from pghot.units import format_number, format_size

WIDTH = 100


def render(found: Margins) -> str:
    """The text of `pghot margin`."""
    lines = [*paragraphs(setup(found)), "", *cache(found)]
    for margin in found.rules.values():
        lines += ["", *rule_lines(margin, found.real)]
    return "\n".join(lines)


def setup(found: Margins) -> list[str]:
    """Device and host, in sentences."""
    device, host = found.device, found.host
    stored = (
        "as it is, beside the rest" if device.spoil == "line" and not device.dedup else "in a spoiled block"
    )
    return [
        f"device: {format_size(found.promised)} promised on {format_size(found.real)}; blocks of "
        f"{device.block} B, lines of {device.line} B, a written line is stored {stored}: it costs up to "
        f"{found.line_growth_bytes} B",
        f"host: last-level cache {format_size(host.llc)}, {format_number(host.write_gb_s)} GB/s of writes, "
        f"{format_number(host.promotion_gb_s)} GB/s of promotions, warning after "
        f"{format_number(device.interrupt_us)} us, reports up to "
        f"{format_number(device.report_us)} us old",
    ]


def cache(found: Margins) -> list[str]:
    share = found.cache_bytes / found.host.llc
    return wrapped(
        f"cache term: {format_size(found.cache_bytes)} ({format_number(share)} x the cache): every line "
        "of the cache dirty, each at "
        "its worst; which rules need it, see below"
    )


def rule_lines(margin: RuleMargin, real: int) -> list[str]:
    """One rule: its reserve on `real` bytes of medium, then a line for each term and note."""
    if margin.fits:
        lines = [f"{margin.rule.name:18} reserve {format_size(margin.reserve_bytes):>12}"]
    else:
        lines = wrapped(f"{margin.rule.name:18} no reserve is enough: {margin.reason}")
    for term in margin.terms:
        needs = "beyond real" if term.bytes >= real else format_size(term.bytes)
        lines += wrapped(f"{needs:>14}  {term.name}: {term.reason} [{term.formula}]", "  ", 18)
    for note in margin.notes:
        lines += wrapped(note, "  ", 2)
    return lines


def wrapped(text: str, first: str = "", then: int = 2) -> list[str]:
    """Lines of at most `WIDTH` columns."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * then,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def paragraphs(sentences: list[str]) -> list[str]:
    """Each sentence `wrapped`."""
    return [line for sentence in sentences for line in wrapped(sentence)]
