"""What a program calls the memory of a page, where the page is of a mapped ELF file that is still there.

A recording does not say at which offset a file was mapped. That is known where all of it was: if the mappings of the
file's name in one process begin and end as far apart as its loadable segments do (System V ABI, "Program Header"). A
library that was replaced since, or of which a part was left out, mostly has another length, and is not named from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np

from pghot.recording.elf_symbols import FUNC, OBJECT, defined, name_at, opened, symbol_table
from pghot.recording.spans import Span
from pghot.recording.trace import MemoryKind

_MOST_NAMES = 100


@dataclass(frozen=True, slots=True)
class Symbols:
    """What lies in [address, address + size) of a mapped file.

    offset  bytes from the start of the mapping of the file to the address
    names   of functions and objects, those with the largest part first
    """

    path: str
    offset: int
    names: tuple[str, ...]


def symbols_of(spans: Sequence[Span], asked: Span, page_bytes: int) -> Symbols | None:
    """What is in `asked`, a part of one of a recording's spans; None where that cannot be said."""
    if asked.kind is not MemoryKind.FILE or asked.start_address is None:
        return None
    mine = [
        (start, start + span.pages * page_bytes)
        for span in spans
        if (span.name, span.space) == (asked.name, asked.space) and (start := span.start_address) is not None
    ]
    begin, end = min(start for start, _ in mine), max(end for _, end in mine)
    file = opened(asked.name)
    if file is None:
        return None
    with file:
        try:
            names = _names(file, begin, end, asked.start_address, asked.pages * page_bytes)
        except Exception:  # pyelftools raises anything on a file that is damaged, or no ELF file
            return None
    return None if names is None else Symbols(asked.name, asked.start_address - begin, tuple(names))


def _names(file: IO[bytes], begin: int, end: int, address: int, size: int) -> list[str] | None:
    from elftools.elf.elffile import ELFFile

    elf = ELFFile(file)
    loads = [each for each in elf.iter_segments() if each["p_type"] == "PT_LOAD"]
    align = max(each["p_align"] for each in loads)
    first = min(each["p_vaddr"] for each in loads) // 4096 * 4096
    last = -(-max(each["p_vaddr"] + each["p_filesz"] for each in loads) // 4096) * 4096
    if elf.elfclass != 64 or not elf.little_endian or last - first != end - begin or align < 4096:
        return None
    symbols, strings = symbol_table(elf)
    start = address - begin + first
    overlap = np.minimum(symbols["value"] + symbols["size"], start + size).astype(np.int64) - np.maximum(
        symbols["value"], start
    ).astype(np.int64)
    found = np.flatnonzero(defined(symbols, OBJECT, FUNC) & (overlap > 0))
    found = found[np.argsort(-overlap[found], kind="stable")][:_MOST_NAMES]
    return list(dict.fromkeys(name_at(strings, int(symbols["name"][each])) for each in found))
