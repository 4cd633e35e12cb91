"""Names with what they stand for, one a line."""

from __future__ import annotations

from collections.abc import Mapping

from pghot.printable import printable


def render(summaries: Mapping[str, str], places: Mapping[str, str]) -> str:
    """The text of `pghot list`. places: where each name works, if that differs."""
    width = max(len(name) for name in summaries)
    wide = max(map(len, places.values()), default=0)
    return "\n".join(
        printable(f"{name:{width}}  {f'{places[name]:{wide}}  ' if places else ''}{summary}".rstrip())
        for name, summary in summaries.items()
    )
