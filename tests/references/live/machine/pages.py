"""The state of pages without summaries: time passes for all pages at once, and every answer is a walk over all."""

from __future__ import annotations

import numpy as np

from pghot.arrays import NOWHERE, U8, U32
from pghot.kernel.maps import MappingKind
from pghot.policies.live_rules import OLDEST


class PlainPages:
    """`Pages`, each page an element of five arrays."""

    def __init__(self, pages: int) -> None:
        self.kind = np.zeros(pages, np.uint8)
        self.place = np.full(pages, NOWHERE, np.uint8)
        self.age = np.full(pages, OLDEST, np.int64)
        self.heat = np.zeros(pages, np.int64)

    def clear(self, pages: slice, kind: U8 | int) -> None:
        self.kind[pages], self.place[pages], self.age[pages], self.heat[pages] = kind, NOWHERE, OLDEST, 0

    def saw(self, page: U32, count: U32) -> None:
        for p, more in zip(page.tolist(), count.tolist(), strict=True):
            self.heat[p] = min(self.heat[p] + more, 65535)
            self.age[p] = 0

    def grow_older(self) -> None:
        self.heat //= 2
        self.age = np.minimum(self.age + 1, OLDEST)

    def movable(self) -> np.ndarray:
        return self.kind == MappingKind.MOVABLE

    def placed(self) -> tuple[list[int], list[int]]:
        """Movable pages on nodes 0 to 254, and those of them with some heat."""
        movable = self.movable()
        counts = [
            np.bincount(self.place[which], minlength=256)[:NOWHERE].tolist()
            for which in (movable, movable & (self.heat > 0))
        ]
        return counts[0], counts[1]

    def coldest(self, order: list[int], node: int, most: int, least_age: int) -> list[int]:
        """The longest unseen pages on `node`, equals in the order of the sections."""
        old = (self.place == node) & self.movable() & (self.age >= least_age)
        found = [
            page
            for section in order
            for page in (np.flatnonzero(old[section << 15 : section + 1 << 15]) + (section << 15)).tolist()
        ]
        if len(found) <= most:
            return found
        return sorted(found, key=lambda page: OLDEST - int(self.age[page]))[:most]

    def hottest(self, order: list[int], keys: list[int], top: int, join: bool) -> list[tuple[int, int, int]]:
        """(first page, pages, heat) of the hottest pages or runs, equals in the order of the sections."""
        found: list[list[int]] = []
        after = (-1, -1)
        for section, key in zip(order, keys, strict=True):
            part = slice(section << 15, (section + 1) << 15)
            for offset in np.flatnonzero((self.heat[part] > 0) & self.movable()[part]).tolist():
                page, address = part.start + offset, (key << 15) + offset
                if join and after == (address, int(self.place[page])):
                    found[-1][1] += 1
                    found[-1][2] += int(self.heat[page])
                else:
                    found.append([page, 1, int(self.heat[page])])
                after = (address + 1, int(self.place[page]))
        ranked = sorted(found, key=lambda run: -run[2])[:top]
        return [(first, pages, heat) for first, pages, heat in ranked]
