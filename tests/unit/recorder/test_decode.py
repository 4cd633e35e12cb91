"""Frames of the plugin: cut out of any pieces of a stream, and refused when they are not the plugin's."""

from __future__ import annotations

import contextlib
import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pghot.errors import PghotError
from pghot.recorder.decode import (
    End,
    Frame,
    FrameReader,
    Hello,
    Name,
    Note,
    NoteKind,
    Site,
    SliceFrame,
    Thread,
)


def frame(kind: int, payload: bytes) -> bytes:
    return struct.pack("<II", kind, len(payload)) + payload


def text(a: int, b: int, c: int, words: str) -> bytes:
    return struct.pack("<III", a, b, c) + words.encode()


def slice_payload() -> bytes:
    """Slice 7, 3 lost, two extents, one region, two vCPUs, three rows, two caches, 99 instructions that waited, 8 sites
    lost.

    Columns: page, vCPU, touches, sequential, strided, dependent, stores, misses of each cache.
    """
    head = struct.pack("<9Q", 7, 3, 2, 1, 2, 3, 2, 99, 8)
    words = np.array([0x20, 0x10, 5, 4, 1, 6, 1000, 2000], "<u8").tobytes()
    columns = [
        [0, 5, 513],
        [0, 0, 1],
        [9, 8, 7],
        [2, 1, 0],
        [1, 0, 0],
        [0, 1, 0],
        [6, 5, 4],
        [4, 3, 2],
        [3, 2, 1],
    ]
    return head + words + np.array(columns, "<u4").tobytes()


def site_payload() -> bytes:
    """Site 6: 0x401139 is at 0x1139 of the file whose name is 3, 0x7000 in none."""
    return struct.pack("<II4Q2I", 6, 2, 0x401139, 0x7000, 0x1139, 0, 3, 0)


STREAM = (
    frame(1, text(12, 11, 1 | 4, "/bin/a program"))
    + frame(2, text(3, 0, 0, "/lib/ü.so"))
    + frame(8, site_payload())
    + frame(3, slice_payload())
    + frame(4, text(3, 12, 0, "/bin/other"))
    + frame(7, text(1, 13, 0, "worker"))
    + frame(5, b"")
)


def fields(item: Frame) -> object:
    if isinstance(item, SliceFrame):
        return [np.asarray(getattr(item, name)).tolist() for name in SliceFrame.__slots__]
    return item


EXPECTED = [
    Hello(12, 11, main=True, forked=False, again=True, program="/bin/a program"),
    Name(3, "/lib/ü.so"),
    Site(6, ((0x401139, 0x1139, 3), (0x7000, 0, 0))),
    [
        *(7, 3, 99, 8, [0x20, 0x10], [[5, 4, 1, 6]], [1000, 2000], [0, 5, 513], [0, 0, 1]),
        [[9, 8, 7], [6, 5, 4], [2, 1, 0], [1, 0, 0], [0, 1, 0], [4, 3, 2], [3, 2, 1]],
    ],
    Note(NoteKind.EXEC, 12, "/bin/other"),
    Thread(1, 13, "worker"),
    End(),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_frames_do_not_depend_on_how_the_stream_is_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    reader = FrameReader()
    got = [fields(item) for begin, end in pairwise(places) for item in reader.feed(STREAM[begin:end])]
    assert got == EXPECTED


def test_an_unfinished_frame_is_kept_back() -> None:
    assert len(list(FrameReader().feed(STREAM[:-9]))) == 5


@pytest.mark.parametrize("data", [frame(99, b""), struct.pack("<II", 3, 1 << 31 | 1), b"GET / HTTP/1.0\r\n"])
def test_a_foreign_stream_is_refused(data: bytes) -> None:
    with pytest.raises(PghotError, match="the plugin sent a frame of kind"):
        list(FrameReader().feed(data))


@given(st.sampled_from(range(1, 9)), st.binary(max_size=120), st.booleans())
@example(3, struct.pack("<9Q", 0, 0, 1 << 62, 1 << 62, 0, 1 << 63, 0, 0, 0), False)
@example(8, struct.pack("<IIQ", 1, 1 << 31, 0), False)
@example(8, struct.pack("<II", 0, 0), False)
def test_any_payload_is_a_frame_or_an_error_of_one_line(kind: int, payload: bytes, whole: bool) -> None:
    """A program can write to the plug-in's descriptor. Of a payload that once was whole, most of the numbers are."""
    if whole:
        payload = {3: slice_payload(), 8: site_payload()}.get(kind, b"")[: len(payload) * 2] + payload
    with contextlib.suppress(PghotError):
        list(FrameReader().feed(frame(kind, payload)))
