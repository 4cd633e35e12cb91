"""What an undo did, and how it moves pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

import numpy as np

from pghot.arrays import I64, U8

BATCH_PAGES = 512
ROUNDS = 5  # for pages that are busy


class UndoneFacts(TypedDict):
    schema: str
    pages_back: int
    pages_home: int
    pages_gone: int
    pages_left: dict[str, int]
    processes_gone: list[str]
    files_gone: list[str]
    knobs: list[str]
    problems: list[str]
    nothing: NotRequired[str]


@dataclass(slots=True)
class Undone:
    """What an undo did.

    pages_back     pages that are on their first node again because of it
    pages_home     pages that never left, or had come back
    pages_gone     pages that their program gave up since
    pages_left     pages that could not be moved back (busy, pinned, shared, no room), by process or file
    processes_gone processes that ended or run another program now
    files_gone     files and shared memory that no program maps any more
    knobs          those that it gave their old value again; what it left alone is a problem
    nothing        why none of it, or no pages of programs, can be put back: a sentence; "" when they can
    """

    pages_back: int = 0
    pages_home: int = 0
    pages_gone: int = 0
    pages_left: dict[str, int] = field(default_factory=dict)
    processes_gone: list[str] = field(default_factory=list)
    files_gone: list[str] = field(default_factory=list)
    knobs: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    nothing: str = ""

    def facts(self) -> UndoneFacts:
        """The JSON of `pghot undo`."""
        facts: UndoneFacts = {
            "schema": "pghot.undo/1",
            "pages_back": self.pages_back,
            "pages_home": self.pages_home,
            "pages_gone": self.pages_gone,
            "pages_left": self.pages_left,
            "processes_gone": self.processes_gone,
            "files_gone": self.files_gone,
            "knobs": self.knobs,
            "problems": self.problems,
        }
        return facts | {"nothing": self.nothing} if self.nothing else facts

    @property
    def complete(self) -> bool:
        return not self.problems and not self.pages_left


def slowest_first(node: U8) -> Iterator[I64]:
    """Batches of indices, ascending each, of pages that go to these nodes (uint8[K]): those for higher (slower) nodes
    first, which frees room on the others."""
    order = np.argsort(255 - node, kind="stable")
    for begin in range(0, len(order), BATCH_PAGES):
        yield np.sort(order[begin : begin + BATCH_PAGES])
