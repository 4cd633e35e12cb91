"""Slow, plain versions of the kernels of `pghot.kernel.maps_decode`."""

from __future__ import annotations

import re

import numpy as np

from pghot.arrays import U8
from pghot.kernel.maps import SYSTEM_V, MappingKind, Mappings

_LINE = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) ([0-9a-f]+:[0-9a-f]+) (\d+)\s*(.*)")
_SPECIAL = (b"[vdso]", b"[vvar]", b"[vvar_vclock]", b"[vsyscall]", b"[uprobes]", b"[sigpage]", b"[vectors]")


def decode_reference(text: bytes) -> list[tuple[int, int, MappingKind, int, int, int]]:
    """`decode` by a regular expression: the columns of each mapping."""
    found = []
    for line in text.split(b"\n"):
        if match := _LINE.fullmatch(line):
            start, end = int(match[1], 16), int(match[2], 16)
            if start < end < 1 << 62:
                kind = kind_of_reference(match[7], match[3], int(match[6]))
                major, minor = (min(int(part, 16), 1 << 62) for part in match[5].split(b":"))
                inode = int(match[6]) % (1 << 64) | SYSTEM_V * match[7].startswith(b"/SYSV")
                device = (major << 20 | minor) % (1 << 64)
                found.append((start, end, kind, device, inode, min(int(match[4], 16), 1 << 62)))
    return found


def kind_of_reference(name: bytes, permissions: bytes, inode: int) -> MappingKind:
    """`kind_of` as a list of rules."""
    if name in _SPECIAL:
        return MappingKind.SPECIAL
    if name.startswith(b"/anon_hugepage"):
        return MappingKind.HUGETLB
    if permissions.endswith(b"s"):
        return MappingKind.SHARED if name[:1] in (b"", b"/", b"[") else MappingKind.SPECIAL
    if name == b"/dev/zero":
        return MappingKind.MOVABLE
    if inode or name.startswith(b"/"):
        return MappingKind.SPECIAL if name.startswith(b"/dev/") else MappingKind.FILE
    return MappingKind.MOVABLE


def fill_kinds_reference(mappings: Mappings, begin: int, pages: int) -> U8:
    """`fill_kinds`, page by page."""
    kind = np.zeros(pages, np.uint8)
    for page in range(pages):
        for start, end, each in zip(mappings.start, mappings.end, mappings.kind, strict=True):
            if start <= begin + page * 4096 < end:
                kind[page] = each
    return kind
