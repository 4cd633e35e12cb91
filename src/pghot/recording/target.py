"""What of a recording somebody asks about: the page at an address, a range of addresses, or a region by its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pghot.errors import UsageError, shortened, unknown_name
from pghot.recording.spans import UNNAMED, Span, spans_of
from pghot.recording.symbols import Symbols, symbols_of
from pghot.recording.trace import Region, TraceInfo
from pghot.units import counted, format_size

_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]+")
_RANGE = re.compile(r"(?:0[xX])?([0-9a-fA-F]+)-(?:0[xX])?([0-9a-fA-F]+)")


@dataclass(frozen=True, slots=True)
class Target:
    """Pages of a recording.

    title  what they are, in words
    spans  each of one region, in the order of their addresses; at least one
    symbols  what a page of a file is called there; None: it is no such page, or that is not known
    """

    title: str
    spans: tuple[Span, ...]
    symbols: Symbols | None = None

    @property
    def pages(self) -> int:
        return sum(span.pages for span in self.spans)


class HasRegions(Protocol):
    """What addresses are looked up in: a recording, or a log of decisions."""

    @property
    def regions(self) -> Sequence[Region]: ...

    @property
    def pages(self) -> int: ...

    @property
    def info(self) -> TraceInfo: ...


def target_of(recording: HasRegions, word: str) -> Target:
    """The page at "0xADDR" in every process that has one there, the range "0xFROM-0xTO", or the region of that name.

    A file is also known by the last part of its path. Raises `UsageError` for what is not there, with what is nearest.
    """
    spans = spans_of(recording.regions, recording.pages)
    page_bytes = recording.info.page_bytes
    if _ADDRESS.fullmatch(word):
        address = int(word, 16) // page_bytes * page_bytes
        found = _between(spans, address, address + page_bytes, page_bytes)
        if not found:
            raise _nowhere(spans, int(word, 16), recording)
        return Target(_page_title(found, recording.info), found, symbols_of(spans, found[0], page_bytes))
    if named := _RANGE.fullmatch(word):
        begin, end = (int(text, 16) for text in named.groups())
        found = _between(spans, begin, end, page_bytes)
        if not found:
            raise _nowhere(spans, begin, recording)
        names = ", ".join(dict.fromkeys(span.name for span in found))
        return Target(f"{begin:#x}-{end:#x} of {names}", found)
    return _region(spans, word)


def _region(spans: Sequence[Span], name: str) -> Target:
    found = tuple(span for span in spans if name in (span.name, span.name.rpartition("/")[2]))
    if not found:
        if name.isdigit():
            raise UsageError(f"'{shortened(name)}' is no region and no address", "an address begins with 0x")
        raise unknown_name("region", name, list(dict.fromkeys(span.name for span in spans)))
    return Target(", ".join(dict.fromkeys(span.name for span in found)), found)


def _between(spans: Sequence[Span], begin: int, end: int, page_bytes: int) -> tuple[Span, ...]:
    """The parts of the spans that are in [begin, end)."""
    found = []
    for span in spans:
        if span.start_address is None:
            continue
        first = max(0, (begin - span.start_address) // page_bytes)
        last = min(span.pages, -((span.start_address - end) // page_bytes))
        if first < last:
            found.append(
                replace(
                    span,
                    first_page=span.first_page + first,
                    pages=last - first,
                    start_address=span.start_address + first * page_bytes,
                )
            )
    return tuple(found)


def _page_title(found: tuple[Span, ...], info: TraceInfo) -> str:
    where = [
        f"{span.name}{f' of {info.processes[span.space].name}' if span.space < len(info.processes) else ''}"
        for span in found
    ]
    return f"page {found[0].start_address:#x} of {'; '.join(dict.fromkeys(where))}"


def _nowhere(spans: Sequence[Span], address: int, recording: HasRegions) -> UsageError:
    """The error for an address in no region: it names the nearest one."""
    page_bytes = recording.info.page_bytes
    ends = [
        (max(start - address, address - (start + span.pages * page_bytes) + 1), span, start)
        for span in spans
        if (start := span.start_address) is not None
    ]
    message = f"{address:#x} is in no region of {recording.info.name}"
    if not ends:
        return UsageError(message, f"the recording names no region: give {UNNAMED}")
    away, span, start = min(ends, key=lambda each: each[0])
    end = start + span.pages * page_bytes
    return UsageError(
        message, f"nearest is {span.name} at {start:#x}-{end:#x}, {format_size(away)} {_side(start, address)}"
    )


def _side(start: int, address: int) -> str:
    return "above" if start > address else "below"


def extent(target: Target, page_bytes: int) -> str:
    """How much it is, in words."""
    size = format_size(target.pages * page_bytes)
    return f"{counted(target.pages, 'page')}, {size}" if target.pages > 1 else size
