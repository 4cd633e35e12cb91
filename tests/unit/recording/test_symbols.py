"""What a page of a mapped file is called: the C library of this very process, by its own addresses."""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pghot.recording.spans import Span
from pghot.recording.symbols import symbols_of
from pghot.recording.trace import MemoryKind

PAGE = 4096


def mapped() -> list[Span]:
    """The C library's mappings in this process."""
    libc = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ +(/\S*/libc[.-]\S*)")
    found = [each for line in Path("/proc/self/maps").read_text().splitlines() if (each := libc.match(line))]
    if not found:
        pytest.skip("this process maps no libc")
    ranges = [(int(each[1], 16), int(each[2], 16), each[3]) for each in found]
    return [Span(0, (end - start) // PAGE, 0, start, name, MemoryKind.FILE) for start, end, name in ranges]


def page_at(spans: list[Span], address: int) -> Span:
    start = address // PAGE * PAGE
    return replace(spans[0], pages=1, start_address=start)


@pytest.mark.parametrize("name", ["qsort", "getenv", "environ"])
def test_the_linker_agrees(name: str) -> None:
    """Functions and an object are in the page at which the dynamic linker has them."""
    spans = mapped()
    address = ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value
    if name == "environ":  # data: ctypes has its address another way
        address = ctypes.addressof(ctypes.c_void_p.in_dll(ctypes.CDLL(spans[0].name), "_environ"))
    assert address is not None
    found = symbols_of(spans, page_at(spans, address), PAGE)
    assert found is not None
    first = min(span.start_address or 0 for span in spans)
    assert found.offset == address // PAGE * PAGE - first
    assert name in found.names or f"_{name}" in found.names or f"__{name}" in found.names


def test_where_a_part_was_left_out_nothing_is_named() -> None:
    """Then nobody knows at which offset the others are."""
    spans = mapped()
    page = page_at(spans, (spans[-1].start_address or 0))
    assert symbols_of(spans, page, PAGE) is not None
    assert symbols_of(spans[1:], page, PAGE) is None
    assert symbols_of(spans[:-1], page, PAGE) is None


def test_memory_of_no_file_a_file_that_is_gone_and_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("no ELF file")
    for name in ("/none", str(tmp_path / "pipe"), str(tmp_path / "text"), "/dev/zero", "a\0b", "relative"):
        span = Span(0, 1, 0, PAGE, name, MemoryKind.FILE)
        assert symbols_of([span], span, PAGE) is None
    anon = Span(0, 1, 0, PAGE, "[anon]", MemoryKind.ANON)
    assert symbols_of([anon], anon, PAGE) is None


def test_a_damaged_file_is_not_named_from(tmp_path: Path) -> None:
    """Cut off anywhere, or with changed bytes in its headers: no error, and no hang."""
    spans = mapped()
    whole = Path(spans[0].name).read_bytes()
    path = tmp_path / "libc.so.6"
    mine = [replace(span, name=str(path)) for span in spans]
    page = page_at(mine, (mine[-1].start_address or 0))
    damaged = [whole[:cut] for cut in (0, 3, 20, 64, 200, 4096, len(whole) // 2, len(whole) - 1)]
    damaged += [whole[:at] + b"\xff" + whole[at + 1 :] for at in range(16, 400, 7)]
    damaged += [whole[:at] + b"\xff" + whole[at + 1 :] for at in range(len(whole) - 400, len(whole), 7)]
    for data in damaged:
        path.write_bytes(data)
        symbols_of(mine, page, PAGE)
