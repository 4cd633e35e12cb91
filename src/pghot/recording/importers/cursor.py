"""A place in a foreign file: bytes are taken and dropped in order, and a block is added when they run out."""

from __future__ import annotations

import numpy as np

from pghot.arrays import U64
from pghot.recording.importers.input import BLOCK_BYTES, Input


class Cursor:
    """What of the file is at hand begins at `at`, and the file counts as ended at `end`.

    at   offset of the next byte
    end  offset behind the last byte; None: where the file ends
    """

    def __init__(self, source: Input) -> None:
        self._source = source
        self._room = np.empty(2 * BLOCK_BYTES, np.uint8)  # what is at hand: [place, stop) of it
        self._place = self._stop = 0
        self.at = 0
        self.end: int | None = None

    @property
    def held(self) -> int:
        """Bytes at hand."""
        have = self._stop - self._place
        return have if self.end is None else max(0, min(have, self.end - self.at))

    def more(self) -> bool:
        """Add a block to what is at hand; False at the end. What `words` gave is gone."""
        have = self._stop - self._place
        if self.end is not None and self.at + have >= self.end:
            return False
        room = self._room
        if have + BLOCK_BYTES > len(room):
            room = np.empty(2 * (have + BLOCK_BYTES), np.uint8)
        room[:have] = self._room[self._place : self._stop]
        added = self._source.fill(room.data[have : have + BLOCK_BYTES])
        self._room, self._place, self._stop = room, 0, have + added
        return added > 0

    def have(self, count: int) -> bool:
        """Whether so many bytes follow; then they are at hand."""
        while self.held < count:
            if not self.more():
                return False
        return True

    def peek(self, count: int) -> bytes:
        """The next bytes, as far as they are at hand."""
        return self._room[self._place : self._place + min(count, self.held)].tobytes()

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
            self._place = self._stop = 0
            if not self.more():
                return count - left
        self.at += left
        self._place += left
        return count

    def words(self) -> U64:
        """What is at hand as uint64, without a rest of less than eight bytes; there until `more` is called."""
        if self._place & 7:
            have = self._stop - self._place
            self._room[:have] = self._room[self._place : self._stop]
            self._place, self._stop = 0, have
        return np.frombuffer(self._room, np.uint64, self.held >> 3, self._place)
