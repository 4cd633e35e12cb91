"""Pages that were mapped a second time, at another site: of which site a page is depends on the time.

A region's site is the first one. The later ones are among a recording's final facts, so one whose recorder was killed
has none: {"sites": [text, ...], "rows": [[time_ns, first_page, pages, number of the site], ...]}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pghot.recording.format import MAX_PAGES
from pghot.recording.header import is_count, is_time_ns

MAX_REALLOCATIONS: Final = 1 << 15


@dataclass(frozen=True, slots=True)
class Reallocation:
    """Pages [first_page, first_page + pages) are of `site` from `time_ns` of the recording on; "": not known."""

    time_ns: int
    first_page: int
    pages: int
    site: str


def to_facts(rows: Sequence[Reallocation]) -> dict[str, Any]:
    """Each site's text once."""
    sites = list(dict.fromkeys(row.site for row in rows))
    number = {site: i for i, site in enumerate(sites)}
    listed = [[row.time_ns, row.first_page, row.pages, number[row.site]] for row in rows]
    return {"sites": sites, "rows": listed}


def from_facts(final: Mapping[str, Any]) -> list[Reallocation]:
    """Those of a recording's final facts. Raises `ValueError` where they are none."""
    facts = final.get("reallocations", {"sites": [], "rows": []})
    try:
        sites, rows = facts["sites"], [(*map(_number, row),) for row in facts["rows"]]
        found = [Reallocation(time_ns, first, pages, sites[site]) for time_ns, first, pages, site in rows]
    except (TypeError, KeyError, IndexError, ValueError):
        raise ValueError("reallocations that are none") from None
    for each in found:
        if not is_time_ns(each.time_ns) or not isinstance(each.site, str) or not each.pages:
            raise ValueError("reallocations that are none")
        if each.first_page + each.pages > MAX_PAGES:
            raise ValueError("reallocations outside the dense index space")
    return found


def _number(value: Any) -> int:
    if not is_count(value):
        raise ValueError("reallocations that are none")
    return int(value)
