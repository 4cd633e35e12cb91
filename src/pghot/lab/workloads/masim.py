"""Configuration files of masim, the memory access simulator, as workloads.

The file is text; lines that begin with `#` are comments, empty lines separate paragraphs. The first paragraph
has a line for each region, `name, bytes` and optionally a data file. Each further paragraph is a phase: a
line with its name, one with its milliseconds, then lines `region, random (1) or sequential (0), stride,
probability` and optionally `ro`, `wo` or `rw`.

masim runs for a time and counts accesses; here a phase of T ms is T / slice_ms slices of a fixed amount of
work.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pghot.arrays import F64, Bool
from pghot.documents import read_text
from pghot.errors import UsageError, shortened
from pghot.lab.workloads.patterns import BASE_ADDRESS, page_count
from pghot.lab.workloads.rows import Draws, RandomField, Rows, merge_rows, random_rows, shift_rows
from pghot.lab.workloads.walks import StridedWalk
from pghot.recording.trace import Region

_FORMAT = "see the masim section of docs/workloads.md for the format"
# Of bytes, ms, strides and probabilities: sums and products of a few stay below 2^63, or are floats.
_MOST = 10**15
_WRITE_SHARE = {"ro": 0.0, "wo": 1.0, "rw": 0.5}
# Misses in flight of one core: random accesses, and sequential ones (FACTS 8).
_MLP_RANDOM, _MLP_SEQUENTIAL = 10.0, 20.0


@dataclass(frozen=True, slots=True)
class MasimAccess:
    """One line of a phase. weight: relative probability; mode: "ro", "wo" or "rw"."""

    region: str
    random: bool
    stride: int
    weight: int
    mode: str


@dataclass(frozen=True, slots=True)
class MasimPhase:
    name: str
    time_ms: int
    accesses: tuple[MasimAccess, ...]


@dataclass(frozen=True, slots=True)
class MasimConfig:
    """regions: name -> bytes, in the file's order."""

    regions: dict[str, int]
    phases: tuple[MasimPhase, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the file with its place, for errors."""

    where: str
    text: str

    def fields(self, least: int, most: int, form: str) -> list[str]:
        fields = [field.strip() for field in self.text.split(",")]
        if not least <= len(fields) <= most:
            raise self.error(f"expected '{form}', found '{shortened(self.text)}'")
        return fields

    def number(self, text: str, least: int) -> int:
        """A whole number from `least` to `_MOST`. Raises `UsageError`."""
        value = int(text) if re.fullmatch("[0-9]{1,16}", text) else -1
        if not least <= value <= _MOST:
            raise self.error(
                f"'{shortened(text)}' is not a whole number of at least {least}, and {_MOST} at most"
            )
        return value

    def error(self, message: str) -> UsageError:
        return UsageError(f"{self.where}: {message}", _FORMAT)


def parse_masim(text: str, name: str = "masim") -> MasimConfig:
    """The configuration in `text`; `name` stands for the file in errors, which are `UsageError`s."""
    paragraphs = _paragraphs(text, name)
    if len(paragraphs) < 2:
        raise UsageError(f"{name}: a masim file has a paragraph of regions and one for each phase", _FORMAT)
    regions: dict[str, int] = {}
    for line in paragraphs[0]:
        fields = line.fields(2, 3, "name, bytes[, data file]")
        regions[fields[0]] = line.number(fields[1], 1)
    return MasimConfig(regions, tuple(_phase(lines, regions) for lines in paragraphs[1:]))


def _paragraphs(text: str, name: str) -> list[list[_Line]]:
    """The lines that are neither empty nor comments, in groups that empty lines separate."""
    groups: list[list[_Line]] = [[]]
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            continue
        if line.strip():
            groups[-1].append(_Line(f"{name}:{number}", line.strip()))
        elif groups[-1]:
            groups.append([])
    return [group for group in groups if group]


def _phase(lines: list[_Line], regions: dict[str, int]) -> MasimPhase:
    if len(lines) < 3:
        raise lines[0].error("a phase has a name, a time in ms and at least one access pattern")
    time_ms = lines[1].number(lines[1].text, 1)
    accesses = tuple(_access(line, regions) for line in lines[2:])
    if not any(access.weight for access in accesses):
        raise lines[0].error(f"all probabilities of the phase '{shortened(lines[0].text)}' are 0")
    return MasimPhase(lines[0].text, time_ms, accesses)


def _access(line: _Line, regions: dict[str, int]) -> MasimAccess:
    fields = line.fields(4, 5, "region, random, stride, probability[, ro|wo|rw]")
    if fields[0] not in regions:
        raise line.error(
            f"no region is named '{shortened(fields[0])}'; known: {', '.join(map(shortened, regions))}"
        )
    mode = fields[4] if len(fields) == 5 else "wo"
    if mode not in _WRITE_SHARE:
        raise line.error(f"'{shortened(mode)}' is not an access mode: ro, wo or rw")
    return MasimAccess(
        fields[0], line.number(fields[1], 0) != 0, line.number(fields[2], 1), line.number(fields[3], 0), mode
    )


class MasimPattern:
    """The configuration as an access pattern; each region begins on a page of its own."""

    def __init__(self, config: MasimConfig, page_bytes: int, slice_ms: float) -> None:
        self._config, self._page_bytes = config, page_bytes
        self._first: dict[str, int] = {}
        self.pages = 0
        for name, size in config.regions.items():
            self._first[name] = self.pages
            self.pages += page_count(size, page_bytes)
        self._ends = np.cumsum([max(1, round(phase.time_ms / slice_ms)) for phase in config.phases])
        self.slices = int(self._ends[-1])
        self.mlp = self._mlp()
        self._slice = 0
        # A walk goes on where it stopped, as long as its phase lasts.
        self._running: dict[tuple[int, int], RandomField | StridedWalk] = {}

    def _mlp(self) -> float:
        """Harmonic mean over all accesses of the run, because it is their times that add up."""
        total = slow = 0.0
        for phase in self._config.phases:
            weights = sum(access.weight for access in phase.accesses)
            for access in phase.accesses:
                part = phase.time_ms * access.weight / weights
                total += part
                slow += part / (_MLP_RANDOM if access.random else _MLP_SEQUENTIAL)
        return total / slow

    def regions(self, name: str) -> list[Region]:
        return [
            Region(self._first[region], -(-size // self._page_bytes), 0, self._address(region), region)
            for region, size in self._config.regions.items()
        ]

    def _address(self, region: str) -> int:
        return BASE_ADDRESS + self._first[region] * self._page_bytes

    def dependent(self) -> Bool:
        """Nowhere: masim's accesses do not wait for each other."""
        return np.zeros(self.pages, np.bool_)

    def chance(self) -> F64:
        phase = self._config.phases[0]
        chance = np.zeros(self.pages)
        for access in phase.accesses:
            part = _share_of_pages(self._config.regions[access.region], self._page_bytes)
            first = self._first[access.region]
            chance[first : first + len(part)] += access.weight * part
        chance /= chance.sum()
        return chance

    def draw(self, progress: float, accesses: int, draws: Draws) -> Rows:
        at = int(np.searchsorted(self._ends, self._slice % self.slices, side="right"))
        self._slice += 1
        phase = self._config.phases[at]
        weights = sum(access.weight for access in phase.accesses)
        parts = [
            self._draw_access(at, number, round(accesses * access.weight / weights), draws)
            for number, access in enumerate(phase.accesses)
        ]
        return merge_rows(parts)

    def _draw_access(self, at: int, number: int, accesses: int, draws: Draws) -> Rows:
        access = self._config.phases[at].accesses[number]
        size, write_share = self._config.regions[access.region], _WRITE_SHARE[access.mode]
        if (at, number) not in self._running:
            self._running[at, number] = (
                RandomField(_share_of_pages(size, self._page_bytes))
                if access.random
                else StridedWalk(size, self._page_bytes, access.stride, write_share)
            )
        runner = self._running[at, number]
        if isinstance(runner, RandomField):
            rows = random_rows(*runner.draw(accesses, draws), write_share, draws)
        else:
            rows = runner.draw(accesses, draws)
        return shift_rows(rows, self._first[access.region])


def _share_of_pages(size: int, page_bytes: int) -> F64:
    """float64: the share of a region's bytes in each of its pages."""
    pages = -(-size // page_bytes)
    share = np.full(pages, page_bytes / size)
    share[-1] = (size - (pages - 1) * page_bytes) / size
    return share


def read_masim(path: Path) -> MasimConfig:
    """The configuration in a file. Raises `UsageError`."""
    return parse_masim(read_text(path, "masim file", _FORMAT), path.name)
