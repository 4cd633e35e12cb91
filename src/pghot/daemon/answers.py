"""What consumers are told: one answer of each kind per round, however many ask.

What was asked for in a round is made anew when the next one ends, by the round and not by the socket; only who asks for
something that nobody asked for lately has it made on the spot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # They bring Numba, which a client does not need.
    from pghot.live.hot import By, Hottest
    from pghot.live.status_facts import StatusFacts


class Answers:
    """Makes them by `status` and `hot` (how many, by what)."""

    def __init__(self, status: Callable[[], StatusFacts], hot: Callable[[int, By], Hottest]) -> None:
        self._make_status, self._make_hot = status, hot
        self._status: StatusFacts | None = None
        self._hot: dict[By, tuple[int, Hottest]] = {}
        self._asked_status = False
        self._asked_hot: dict[By, int] = {}

    def status(self) -> StatusFacts:
        """As of the last round."""
        self._asked_status = True
        if self._status is None:
            self._status = self._make_status()
        return self._status

    def hot(self, top: int, by: By) -> Hottest:
        """The `top` hottest as of the last round."""
        self._asked_hot[by] = max(top, self._asked_hot.get(by, 0))
        if by not in self._hot or self._hot[by][0] < top:
            self._hot[by] = top, self._make_hot(top, by)
        return self._hot[by][1].head(top)

    def next_round(self) -> None:
        """A round ended: make what was asked for since the one before."""
        self._status = self._make_status() if self._asked_status else None
        self._hot = {by: (top, self._make_hot(top, by)) for by, top in self._asked_hot.items()}
        self._asked_status, self._asked_hot = False, {}
