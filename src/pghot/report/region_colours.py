"""Which colour a region has, the same in every picture of a page."""

from __future__ import annotations

from collections.abc import Sequence

# Okabe and Ito's palette: told apart by colour-blind readers.
COLOURS = ("#0072b2", "#e69f00", "#cc79a7", "#009e73", "#d55e00", "#56b4e9")
OTHERS = "#888888"


class RegionColours:
    """Each of the first regions has a colour of its own; all others are grey."""

    def __init__(self, regions: Sequence[str]) -> None:
        """regions: names, the most important first."""
        self.named = tuple(regions[: len(COLOURS)])
        self._of = dict(zip(self.named, COLOURS, strict=False))

    def of(self, region: str) -> str:
        """
        >>> RegionColours(["[heap]"]).of("[heap]"), RegionColours(["[heap]"]).of("[stack]")
        ('#0072b2', '#888888')
        """
        return self._of.get(region, OTHERS)
