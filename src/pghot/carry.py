"""Quantities that come in fractions and are spent in whole pages: the fraction is carried on, never rounded away."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Carry:
    """What is left of earlier grants: less than one page.

    A page of the lab stands for many real ones. A scan step of 256 MiB can be a third of such a page: then every
    third step takes one.

    >>> steps = Carry()
    >>> [steps.whole(0.4) for _ in range(5)]
    [0, 0, 1, 0, 1]
    """

    pages: float = 0.0

    def whole(self, granted: float) -> int:
        """Grant this much more; returns the whole pages that may be spent now. Those not spent are forfeited."""
        self.pages = self.pages % 1 + granted
        return int(self.pages)
