"""What a recording holds, as text: a pure function of the JSON facts of `recording.summary`."""

from __future__ import annotations

from pghot.printable import printable
from pghot.recording.ratios import lines as content_lines
from pghot.report.facts import Facts
from pghot.units import format_duration, format_share, format_size


def render(facts: Facts) -> str:
    """The text of `pghot report summary`."""
    lines = [
        f"{facts['name']}: {' '.join(facts['command'])}",
        f"{format_duration(facts['duration_ns'])} in {facts['slices']} slices; footprint "
        f"{format_size(facts['footprint_bytes'])}; cache {format_size(facts['llc']['bytes'])}",
        f"{facts['touches']:,} touches, {facts['misses']:,} misses, {facts['writes']:,} writes",
    ]
    if not facts["complete"]:
        lines.append(f"incomplete: {facts['losses']['damage'] or 'the recorder was stopped'}")
    lines += [
        f"hottest {format_share(point['pages'])} of the pages take {format_share(point['misses'])} of the misses"
        for point in facts["hot_set"]
    ]
    lines += content_lines(facts["compressibility"])
    lines += [
        f"{printable(region['name'])[:40]:40} {region['pages']:>9,} pages {region['misses']:>14,} misses"
        for region in facts["regions"]
    ]
    return "\n".join(map(printable, lines))
