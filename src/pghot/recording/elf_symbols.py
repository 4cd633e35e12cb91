"""The symbols of an ELF file, read with distrust: a recording may name any file, and a file may hold anything."""

from __future__ import annotations

import os
import stat
from typing import IO, Any

import numpy as np
import numpy.typing as npt

# Elf64_Sym (elf.h)
_SYMBOL = np.dtype(
    [
        ("name", "<u4"),
        ("info", "u1"),
        ("other", "u1"),
        ("section", "<u2"),
        ("value", "<u8"),
        ("size", "<u8"),
    ]
)
OBJECT, FUNC = 1, 2  # STT_OBJECT, STT_FUNC
_LONGEST = 256  # bytes of a name
_MOST_BYTES = 1 << 30  # of a symbol table


def opened(path: str) -> IO[bytes] | None:
    """The file if it is a regular one that can be read."""
    if not path.startswith("/"):
        return None
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY), "rb")
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        return None
    return file


def symbol_table(elf: Any) -> tuple[npt.NDArray[Any], bytes]:
    """The symbols of a file of pyelftools, as Elf64_Sym, and their names; none where it has none that can be read."""
    table = elf.get_section_by_name(".symtab") or elf.get_section_by_name(".dynsym")
    nothing = np.empty(0, _SYMBOL), b""
    if table is None:
        return nothing
    text = elf.get_section(table["sh_link"])
    if any(each.compressed or each["sh_size"] > _MOST_BYTES for each in (table, text)):
        return nothing
    return np.frombuffer(table.data(), _SYMBOL), text.data()


def defined(symbols: npt.NDArray[Any], *kinds: int) -> npt.NDArray[np.bool_]:
    """bool[S]: which symbols are of these kinds, and of this file."""
    found: npt.NDArray[np.bool_] = np.isin(symbols["info"] & 15, kinds) & (symbols["section"] != 0)
    return found


def name_at(strings: bytes, at: int) -> str:
    """The name that begins there."""
    end = strings.find(b"\0", at, at + _LONGEST)
    return bytes(strings[at : end if end >= 0 else at + _LONGEST]).decode(errors="replace")
