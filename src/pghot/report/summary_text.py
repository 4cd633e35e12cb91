"""What a recording holds, as text: a pure function of the JSON facts of `recording.summary`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.text import Text

from pghot.printable import printable
from pghot.recording.ratios import lines as content_lines
from pghot.report.facts import Facts
from pghot.report.hot_set_text import regions
from pghot.report.sites_text import sites
from pghot.units import counted, format_duration, format_share, format_size


def render(facts: Facts, pictures: Sequence[Text | str] = ()) -> list[Text]:
    """The lines of `pghot report FILE`; the pictures come between the figures and the regions."""
    return [
        Text(line) if isinstance(line, str) else line
        for line in [*_figures(facts), *pictures, *regions(facts), *sites(facts)]
    ]


def _figures(facts: Facts) -> list[str]:
    hot_set = [
        f"hottest {format_share(point['pages'])} of the pages take {format_share(point['misses'])} of the misses"
        for point in facts["hot_set"]
    ]
    lines = [verification(facts), ran(facts), *totals(facts), *_tasks(facts), *hot_set]
    return list(map(printable, [*lines, *content_lines(facts["compressibility"]), *remarks(facts)]))


def ran(facts: Facts) -> str:
    """The recording's name and the command that was recorded."""
    return ": ".join(filter(None, (facts["name"], shlex.join(facts["command"]))))


def totals(facts: Facts) -> list[str]:
    """How long, how large, and how often."""
    caches = facts["caches"]
    lines = [
        f"{format_duration(facts['duration_ns'])} in {counted(facts['slices'], 'slice')}; footprint "
        f"{format_size(facts['footprint_bytes'])}; cache {format_size(caches[0]['bytes'])}",
        f"{counted(facts['touches'], 'touch')}, {counted(caches[0]['misses'], 'miss')}, "
        f"{counted(facts['writes'], 'write')}",
    ]
    lines += [
        f"{counted(each['misses'], 'miss')} with a cache of {format_size(each['bytes'])}"
        for each in caches[1:]
    ]
    return lines + _patterns(facts)


def remarks(facts: Facts) -> list[str]:
    """What who recorded it noted, and what the recording does not know."""
    return [
        *(f"note: {note}" for note in facts["notes"]),
        *(f"not known: {text}" for text in facts["not_known"]),
    ]


def verification(facts: Facts) -> str:
    """The first line, above all figures."""
    if facts["verification"] == "verified":
        return f"verified, seal {facts['seal']}"
    return f"{facts['verification']}: {facts['doubt']}"


def _patterns(facts: Facts) -> list[str]:
    """How misses follow each other, of the patterns that were recorded."""
    misses = facts["caches"][0]["misses"]
    known = [
        f"{format_share(count / max(misses, 1))} {name}"
        for name, count in facts["patterns"].items()
        if count is not None
    ]
    return [f"of the misses are {', '.join(known)}"] if known else []


def _tasks(facts: Facts) -> list[str]:
    """The threads, when there are several, most misses first."""
    tasks = sorted(facts["tasks"], key=lambda task: -task["misses"])
    if len(tasks) < 2:
        return []
    programs = [process["name"] for process in facts["processes"]]
    return [
        f"thread {task['tid']} {printable(task['name'])} of {printable(programs[task['process']])}: "
        f"{counted(task['misses'], 'miss')}"
        for task in tasks
    ]
