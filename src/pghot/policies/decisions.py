"""The hook for decisions: a policy tells which pages it moves or leaves where they are, and why.

`World.decisions` is the one place that hears of them. Here they are counted. Whatever keeps a log of single pages can
take its place: it gets the same calls, with the pages.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from pghot.arrays import U32


class HeldBack(StrEnum):
    """Why a policy moved nothing, or not this page."""

    NOTHING_SEEN = "nothing seen"  # a round without a report about a page below the top tier
    THRESHOLD = "threshold"  # a page was seen, but too seldom to be hot
    GATE = "gate"  # a hot page was refused as too old
    RATE = "rate"  # a hot page, or a whole round, was refused by a rate limit
    FREE_SPACE = "free space"  # a hot page found no room in the top tier
    NEVER_PRESSED = (
        "never pressed"  # a round in which what the policy waits for did not come: a busy, or a slower tier
    )
    BUSY = "busy"  # a hot page, or a whole round, for which the thread that moves had no time


class Moved(StrEnum):
    """Why a policy moved a page."""

    HOT = "hot"  # promoted
    COLD = "cold"  # demoted, to make room
    BALANCE = "balance"  # moved either way, to even out the load of the tiers


class MoveError(StrEnum):
    """Why move_pages(2) did not move a page that it was asked to: the status of the page, as an errno."""

    EACCES = "EACCES"  # other programs map it, too
    EBUSY = "EBUSY"
    EFAULT = "EFAULT"
    EINVAL = "EINVAL"
    EIO = "EIO"
    ENOENT = "ENOENT"
    ENOMEM = "ENOMEM"
    EPERM = "EPERM"
    OTHER = "another error"


class Decisions(Protocol):
    """What a policy tells. `page` holds dense pages, one for each decision; an empty array tells nothing."""

    def move(self, page: U32, why: Moved) -> None:
        """These pages are to move; the machine may still fail to move some."""

    def hold(self, page: U32, why: HeldBack) -> None:
        """These pages stay where they are."""

    def rest(self, why: HeldBack) -> None:
        """A whole round moves nothing, whatever the pages."""

    def held_back(self) -> dict[str, int]:
        """Decisions not to move by reason, the most frequent first; reasons that never occurred are left out."""


class DecisionCounts:
    """Counts decisions by their reason: real pages for `hold`, rounds for `rest`.

    group_pages  real pages that each page stands for
    """

    def __init__(self, group_pages: float = 1.0) -> None:
        self._group_pages = group_pages
        self._held: dict[HeldBack, float] = {}

    def move(self, page: U32, why: Moved) -> None:
        """Not counted: the machine counts what really moved."""

    def hold(self, page: U32, why: HeldBack) -> None:
        if len(page):
            self._held[why] = self._held.get(why, 0) + len(page) * self._group_pages

    def rest(self, why: HeldBack) -> None:
        self._held[why] = self._held.get(why, 0) + 1

    def held_back(self) -> dict[str, int]:
        most_first = sorted(self._held.items(), key=lambda each: -each[1])
        return {why.value: round(count) for why, count in most_first}
