"""The text of `/proc/PID/maps` in one pass (show_map_vma, fs/proc/task_mmu.c):

    start-end perms offset major:minor inode   name

The kernel escapes the newlines of file names, and no other character.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import U8, U64, Int
from pghot.jit import njit
from pghot.kernel.maps import SYSTEM_V, MappingKind

_NEWLINE, _BLANK, _ZERO, _NINE, _A, _F = b"\n 09af"
_DASH, _COLON, _SHARED, _SLASH, _BRACKET = b"-:s/["
_SPECIAL_NAMES = tuple(
    np.frombuffer(name, np.uint8)
    for name in (
        b"[vdso]",
        b"[vvar]",
        b"[vvar_vclock]",
        b"[vsyscall]",
        b"[uprobes]",
        b"[sigpage]",
        b"[vectors]",
    )
)
_HUGETLB_NAME = np.frombuffer(b"/anon_hugepage", np.uint8)
_DEVICE_NAME = np.frombuffer(b"/dev/", np.uint8)
_ZEROES_NAME = np.frombuffer(b"/dev/zero", np.uint8)  # mapped privately, it is anonymous (drivers/char/mem.c)
_SYSTEM_V_NAME = np.frombuffer(b"/SYSV", np.uint8)
_DEVICE_SHIFT = 20  # of `device_number`
_UNMAPPED, _MOVABLE, _FILE = int(MappingKind.UNMAPPED), int(MappingKind.MOVABLE), int(MappingKind.FILE)
_SHARED_KIND, _SPECIAL, _HUGETLB = (
    int(MappingKind.SHARED),
    int(MappingKind.SPECIAL),
    int(MappingKind.HUGETLB),
)
_TOO_LARGE = 1 << 62  # no user's half is larger; above is the kernel's: [vsyscall]


@njit(cache=True)
def decode(text: U8, start: U64, end: U64, kind: U8, device: U64, inode: U64, offset: U64) -> Int:
    """Fill in the mappings; returns how many. Lines that are none, or of the kernel's half, are left out.

    text  uint8[N];  the others have an element for each line, as in `Mappings`
    """
    found: Int = 0
    at: Int = 0
    while at < text.shape[0]:
        stop: Int = at
        while stop < text.shape[0] and text[stop] != _NEWLINE:
            stop += 1
        i: Int = found
        if decode_line(text, at, stop, start[i:], end[i:], kind[i:], device[i:], inode[i:], offset[i:]):
            found += 1
        at = stop + 1
    return found


@njit(cache=True)
def decode_line(
    text: U8, at: Int, stop: Int, start: U64, end: U64, kind: U8, device: U64, inode: U64, offset: U64
) -> bool:
    """Fill in the first element of each array from text[at:stop], if it is a mapping."""
    first, at = number(text, at, stop, _DASH)
    last, at = number(text, at, stop, _BLANK)
    if at < 0 or at + 5 > stop or not first < last < _TOO_LARGE:
        return False
    for i in range(4):
        if blank(text[at + i]):
            return False
    if text[at + 4] != _BLANK:
        return False
    shared = text[at + 3] == _SHARED
    begin, at = number(text, at + 5, stop, _BLANK)
    major, at = number(text, at, stop, _COLON)
    minor, at = number(text, at, stop, _BLANK)
    if at < 0 or at == stop or not _ZERO <= text[at] <= _NINE:
        return False
    inode[0] = 0
    while at < stop and _ZERO <= text[at] <= _NINE:
        inode[0] = inode[0] * np.uint64(10) + np.uint64(text[at] - _ZERO)
        at += 1
    while at < stop and blank(text[at]):
        at += 1
    name = text[at:stop]
    start[0], end[0], kind[0] = first, last, kind_of(name, shared, inode[0] != 0)
    device[0], offset[0] = major << _DEVICE_SHIFT | minor, begin
    if begins(name, _SYSTEM_V_NAME):
        inode[0] |= np.uint64(SYSTEM_V)
    return True


@njit(cache=True)
def kind_of(name: U8, shared: bool, inode: bool) -> Int:
    """What may be done with the pages of a mapping of this name, as far as the text tells."""
    named = name.shape[0] != 0
    if named and name[0] == _BRACKET:
        for special in _SPECIAL_NAMES:
            if name.shape[0] == special.shape[0] and begins(name, special):
                return _SPECIAL
    if begins(name, _HUGETLB_NAME):
        return _HUGETLB
    if shared:
        # What is no file has another name: anon_inode:[io_uring], socket:[1].
        return _SPECIAL if named and name[0] != _SLASH and name[0] != _BRACKET else _SHARED_KIND
    if name.shape[0] == _ZEROES_NAME.shape[0] and begins(name, _ZEROES_NAME):
        return _MOVABLE
    if inode or (named and name[0] == _SLASH):
        return _SPECIAL if begins(name, _DEVICE_NAME) else _FILE
    return _MOVABLE


@njit(cache=True)
def begins(name: U8, text: U8) -> bool:
    """Whether the name begins with the text."""
    same = 0
    while same < min(name.shape[0], text.shape[0]) and name[same] == text[same]:
        same += 1
    return bool(same == text.shape[0])


@njit(cache=True)
def number(text: U8, at: Int, stop: Int, follows: Int) -> tuple[Int, Int]:
    """A hexadecimal number at `at` and the place after the character that follows it, -1 where there is none such."""
    value: Int = np.int64(0)
    begin: Int = at
    while 0 <= at < stop:
        digit: Int = np.int64(text[at])
        if _ZERO <= digit <= _NINE:
            digit -= _ZERO
        elif _A <= digit <= _F:
            digit -= _A - 10
        else:
            break
        value = value * 16 + digit if value < _TOO_LARGE >> 4 else _TOO_LARGE
        at += 1
    if at <= begin or at >= stop or text[at] != follows:
        return value, -1
    return value, at + 1


@njit(cache=True)
def blank(character: Int) -> bool:
    """Whether it is white space."""
    return bool(character == _BLANK or 9 <= character <= 13)


@njit(cache=True)
def fill_kinds(start: U64, end: U64, kind: U8, begin: Int, pages: U8) -> None:
    """The kind of each page (uint8[P]) from address `begin` on, by mappings that are ascending."""
    low: Int = np.searchsorted(end, np.uint64(begin), side="right")
    stop: Int = begin + np.int64(pages.shape[0]) * 4096
    pages[:] = _UNMAPPED
    while low < start.shape[0] and np.int64(start[low]) < stop:
        first: Int = max(0, (np.int64(start[low]) - begin) // 4096)
        last: Int = min(pages.shape[0], (np.int64(end[low]) - begin) // 4096)
        for page in range(first, last):
            pages[page] = kind[low]
        low += 1
