"""Which pages are sampled, and when: a few hundred of the touched ones in each round, at growing intervals.

The recorders say which pages were touched and read their contents; nothing here knows processes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

PAGES_IN_A_ROUND: Final = 256
_SOONEST_S: Final = 0.25
_USUAL_S: Final = 2.0
# After 256 s the time between rounds grows with the time that has passed: about 900 rounds in a day, 1700 in a year.
# So a recording never has more samples than one message may hold (`sample_text.MAX_SAMPLES`).
_ROUNDS_IN_THE_TIME_SO_FAR: Final = 128


class PageSampler:
    """Draws pages with a seeded generator; the first rounds come soon, for the sake of short programs."""

    def __init__(self, seed: int = 0, pages: int = PAGES_IN_A_ROUND) -> None:
        self._random = np.random.default_rng(seed)
        self._pages = pages
        self._due_s = _SOONEST_S

    def due(self, elapsed_s: float) -> bool:
        """Whether a round is due `elapsed_s` after the recording began; True counts as taken."""
        if elapsed_s < self._due_s:
            return False
        usual_s = max(_USUAL_S, elapsed_s / _ROUNDS_IN_THE_TIME_SO_FAR)
        self._due_s = elapsed_s + min(usual_s, max(elapsed_s, _SOONEST_S))
        return True

    def draw(self, touched: int) -> npt.NDArray[np.int64]:
        """int64[K]: which of so many touched pages to read, each at most once, ascending."""
        number = min(self._pages, touched)
        return np.sort(self._random.choice(touched, number, replace=False, shuffle=False))
