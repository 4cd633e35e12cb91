"""The live view under textual's pilot, with a feed that the test fills."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from pghot.report.view.history import Seen
from pghot.report.view.screen import View


class Script:
    """A feed that the test fills."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.problem = ""
        self.over = False

    def take(self) -> Seen | None:
        return self.seen.pop(0) if self.seen else None


class Bench:
    """A view under the pilot; `shown` is the text on it."""

    def __init__(self, documents: list[Seen]) -> None:
        self.feed, self.documents = Script(), documents
        self.now_s, self.interrupts = 100.0, 0
        self.view = View(self.feed, self._interrupt, lambda: self.now_s)

    def _interrupt(self) -> None:
        self.interrupts += 1

    def run(self, play: Callable[[Any], Awaitable[None]], size: tuple[int, int] = (80, 24)) -> None:
        async def main() -> None:
            async with self.view.run_test(size=size) as pilot:
                await play(pilot)

        asyncio.run(main())

    async def next(self, pilot: Any) -> None:
        """A document arrives and is looked at."""
        self.feed.seen.append(self.documents.pop(0))
        self.view.look()
        await pilot.pause()

    @property
    def shown(self) -> str:
        height = self.view.size.height
        strips = self.view.screen._compositor.render_strips()
        return "\n".join(strip.text for strip in strips[:height])
