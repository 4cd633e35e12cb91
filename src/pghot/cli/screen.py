"""Where pictures of characters are shown: how wide it is, and whether it has colours."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

LEAST_WIDTH = 60


class Screen:
    """Standard output. COLUMNS, NO_COLOR and what the terminal says are heeded; without a terminal it is 80 wide."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self.width = max(LEAST_WIDTH, self._console.width)
        self.colour = self._console.color_system is not None and not self._console.no_color

    def show(self, lines: Iterable[Text | str]) -> None:
        """Print lines as they are, never wrapped."""
        for line in lines:
            self._console.print(Text(line) if isinstance(line, str) else line, soft_wrap=True)
