"""A captured tree with processes whose pages have frames and bits, for the scanning sources."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pghot.kernel.kpageflags import KPAGEFLAGS
from pghot.kernel.page_idle import BITMAP
from pghot.kernel.pagemap import PRESENT
from pghot.kernel.process import Identity
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import Space, Watched

ALL_CAPABILITIES = "CapEff:\t000001ffffffffff\n"
FRAMES = 4096


def put(tree: Path, name: str, text: str = "") -> None:
    """Write a file of the tree, with its directories."""
    path = tree / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def get(tree: Path, name: str) -> str:
    return (tree / name.lstrip("/")).read_text()


def words(tree: Path, name: str, at: int, values: Iterable[int]) -> None:
    """Write 64-bit words into a sparse file, from index `at` on."""
    path = tree / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with open(path, "r+b") as file:
        file.seek(8 * at)
        file.write(np.array(list(values), np.uint64).tobytes())


def word(tree: Path, name: str, at: int) -> int:
    with open(tree / name.lstrip("/"), "rb") as file:
        file.seek(8 * at)
        return int.from_bytes(file.read(8).ljust(8, b"\0"), "little")


class Process:
    """A program with one movable mapping of `pages` pages at `start`, whose first frame is `frame`."""

    def __init__(
        self, tree: Path, pid: int, number: int, pages: int, frame: int, start: int = 1 << 20
    ) -> None:
        self.tree, self.pid, self.number, self.pages, self.start = tree, pid, number, pages, start
        self.frames = list(range(frame, frame + pages))
        self.flags = [0] * pages
        put(tree, f"/proc/{pid}/clear_refs")
        self.map([(start, start + pages * 4096)])
        self.write()

    def map(self, mappings: Iterable[tuple[int, int]]) -> None:
        lines = [f"{start:08x}-{end:08x} rw-p 00000000 00:00 0 " for start, end in mappings]
        put(self.tree, f"/proc/{self.pid}/maps", "\n".join(lines) + "\n")

    def write(self) -> None:
        """The pagemap as it is now; frame 0 stands for a page that is not there."""
        entries = [
            frame | PRESENT | flags if frame else 0
            for frame, flags in zip(self.frames, self.flags, strict=True)
        ]
        words(self.tree, f"/proc/{self.pid}/pagemap", self.start // 4096, entries)

    def address(self, *pages: int) -> list[int]:
        return [self.start + 4096 * page for page in pages]

    @property
    def space(self) -> Space:
        start, end = np.array([self.start], np.uint64), np.array([self.start + self.pages * 4096], np.uint64)
        return Space(self.number, Identity(self.pid, 1, (0, 0, 0)), "program", start, end)


def watched(*processes: Process) -> Watched:
    return Watched(tuple(process.space for process in processes))


class IdleBitmap:
    """The kernel's side of the idle page bitmap, on files. All frames are small and on an LRU list at first."""

    def __init__(self, tree: Path) -> None:
        self.tree, self.root = tree, SysRoot(tree)
        words(tree, BITMAP, 0, [0] * (FRAMES // 64))
        words(tree, KPAGEFLAGS, 0, [1 << 5] * FRAMES)
        put(tree, "/proc/self/status", ALL_CAPABILITIES)

    def touch(self, *frames: int) -> None:
        """The program accesses these frames."""
        for frame in frames:
            bits = word(self.tree, BITMAP, frame // 64) & ~(1 << frame % 64)
            words(self.tree, BITMAP, frame // 64, [bits])

    def mark(self, *frames: int) -> None:
        """Somebody else marks these frames idle."""
        for frame in frames:
            bits = word(self.tree, BITMAP, frame // 64) | 1 << frame % 64
            words(self.tree, BITMAP, frame // 64, [bits])

    def flags(self, frame: int, flags: int) -> None:
        words(self.tree, KPAGEFLAGS, frame, [flags])
