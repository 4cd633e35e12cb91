"""Return addresses in words, as perf script has them: `grow+0x1f (prog)`, or `prog+0x1139` where no symbol covers it.

They are named while the program runs, from the files that it maps then, so that a recording tells its sites anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, U64
from pghot.recorder.decode import Site
from pghot.recording.allocations import BETWEEN
from pghot.recording.elf_symbols import FUNC, defined, name_at, opened, symbol_table


@dataclass(frozen=True, slots=True)
class _Functions:
    """The functions of a file, by address, and its segments (offset in the file, bytes there, address)."""

    segments: list[tuple[int, int, int]]
    symbols: npt.NDArray[Any]
    strings: bytes

    def at(self, offset: int) -> tuple[str, int] | None:
        """The function that has the byte before this offset of the file, and how far in it the offset is.

        The byte before: a call that never comes back may be a function's last instruction.
        """
        for start, size, address in self.segments:
            if start <= offset - 1 < start + size:
                value = offset - start + address
                begins: U64 = self.symbols["value"]
                near = int(np.searchsorted(begins, value - 1, side="right")) - 1
                if near >= 0 and value - 1 < int(begins[near]) + int(self.symbols["size"][near]):
                    return name_at(self.strings, int(self.symbols["name"][near])), value - int(begins[near])
        return None


_NONE = _Functions([], np.empty(0, [("value", "<u8")]), b"")


class FrameNames:
    """Names frames; keeps the functions of each file that it has read."""

    def __init__(self) -> None:
        self._files: dict[str, _Functions] = {}

    def chain(self, site: Site, names: Mapping[int, str]) -> str:
        """All frames of a site, the innermost first. names: of the process's mappings, by their ids."""
        return BETWEEN.join(self._frame(*frame, names) for frame in site.frames)

    def _frame(self, address: int, offset: int, name: int, names: Mapping[int, str]) -> str:
        path = names.get(name, "") if name else ""
        if not path:
            return f"{address:#x}"
        if path not in self._files:
            self._files[path] = _read(path)
        file = path.rpartition("/")[2]
        found = self._files[path].at(offset)
        return f"{found[0]}+{found[1]:#x} ({file})" if found else f"{file}+{offset:#x}"


def _read(path: str) -> _Functions:
    from elftools.elf.elffile import ELFFile

    file = opened(path)
    if file is None:
        return _NONE
    with file:
        try:
            elf = ELFFile(file)
            segments = [
                (int(each["p_offset"]), int(each["p_filesz"]), int(each["p_vaddr"]))
                for each in elf.iter_segments()
                if each["p_type"] == "PT_LOAD"
            ]
            symbols, strings = symbol_table(elf)
        except Exception:  # pyelftools raises anything on a file that is damaged, or no ELF file
            return _NONE
    functions = symbols[defined(symbols, FUNC)]
    return _Functions(segments, functions[_order(functions, strings)], strings)


def _order(functions: npt.NDArray[Any], strings: bytes) -> I64:
    """By address; of several names of one place, such as __libc_malloc and malloc, one without underscore is last."""
    first = np.frombuffer(strings + b"\0", np.uint8)[np.minimum(functions["name"], len(strings))]
    order: I64 = np.lexsort((first != ord("_"), functions["value"]))
    return order
