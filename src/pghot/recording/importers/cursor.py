"""A place in a foreign file: bytes are taken and dropped in order, and a block is added when they run out."""

from __future__ import annotations

import numpy as np

from pghot.arrays import U64
from pghot.recording.importers.input import Input


class Cursor:
    """What of the file is at hand begins at `at`, and the file counts as ended at `end`.

    at   offset of the next byte
    end  offset behind the last byte; None: where the file ends
    """

    def __init__(self, source: Input) -> None:
        self._blocks = source.blocks()
        self._text, self._place = b"", 0
        self.at = 0
        self.end: int | None = None

    @property
    def held(self) -> int:
        """Bytes at hand."""
        have = len(self._text) - self._place
        return have if self.end is None else max(0, min(have, self.end - self.at))

    def more(self) -> bool:
        """Add a block to what is at hand; False at the end."""
        if self.end is not None and self.at + len(self._text) - self._place >= self.end:
            return False
        block = next(self._blocks, b"")
        self._text, self._place = self._text[self._place :] + block, 0
        return bool(block)

    def have(self, count: int) -> bool:
        """Whether so many bytes follow; then they are at hand."""
        while self.held < count:
            if not self.more():
                return False
        return True

    def peek(self, count: int) -> bytes:
        """The next bytes, as far as they are at hand."""
        return self._text[self._place : self._place + min(count, self.held)]

    def take(self, count: int) -> bytes:
        """The next bytes; fewer at the end."""
        self.have(count)
        taken = self.peek(count)
        self.drop(len(taken))
        return taken

    def drop(self, count: int) -> int:
        """Go on by so many bytes, at hand or not; returns by how many the file allowed."""
        left = count
        while left > self.held:
            left -= self.held
            self.at += self.held
            self._text, self._place = b"", 0
            if not self.more():
                return count - left
        self.at += left
        self._place += left
        return count

    def words(self) -> U64:
        """What is at hand as uint64, without a rest of less than eight bytes."""
        if self._place & 7:
            self._text, self._place = self._text[self._place :], 0
        return np.frombuffer(self._text, np.uint64, self.held >> 3, self._place)
