"""What stands before the records of a perf.data file (tools/perf/Documentation/perf.data-file-format.txt).

A file: magic, size of the header, size of an attr, sections {offset, size} of attrs, data and event types, 256 bits of
features. Each attr is a perf_event_attr and a section of its ids. Behind the data is a section for each feature. What
comes through a pipe has only magic and size, and attrs and features are records.
"""

from __future__ import annotations

import re
import struct

import numpy as np

from pghot.arrays import I32, I64, U64
from pghot.errors import UnsupportedError
from pghot.recording.importers.cursor import Cursor
from pghot.recording.importers.input import Input, opened
from pghot.recording.importers.perf_attrs import (
    ADDR,
    COLUMNS,
    ID,
    IDENTIFIER,
    IP,
    LARGEST_ATTR,
    TID,
    TIME,
    Attr,
    Kind,
    attr_from,
    row_of,
)
from pghot.tracepoints import fields_of

MAGIC, SWAPPED, FIRST_VERSION = b"PERFILE2", b"2ELIFREP", b"PERFFILE"
HEADER_ATTR, HEADER_TRACING_DATA = 64, 66

_HEADER = struct.Struct("<8sQQQQQQQQ4Q")
_PIPE_BYTES = 16
_MOST_EVENTS = 1 << 16
_MOST_HEAD_BYTES = 64 << 20
_MOST_TRACING_BYTES = 64 << 20
_TRACING_DATA = 1 << 1  # of the features
_DAMON = re.compile(rb"name: damon_aggregated\nID: ([0-9]{1,9})\nformat:\n((?:.*\n)*?)\nprint fmt")
_DAMON_FIELDS = ("target_id", "start", "end", "nr_accesses")


class PerfFile:
    """The events of a file, and the place where its records begin.

    cursor     at the first record
    attrs      the events so far: a pipe may bring more
    unended    the file does not say where its records end: perf was killed
    """

    def __init__(self, source: Input) -> None:
        """Raises `PghotError` where the head is damaged, `UnsupportedError` for files that pghot does not read."""
        self._source = source
        self.cursor = Cursor(source)
        self.attrs: list[Attr] = []
        self._ids: dict[int, int] = {}
        self._formats: dict[int, tuple[tuple[int, int], ...]] = {}
        self.unended = False
        head = self.cursor.take(_PIPE_BYTES)
        _check_magic(source.name, head)
        if len(head) < _PIPE_BYTES:
            raise source.damaged(len(head), "its header is cut off")
        if struct.unpack_from("<Q", head, 8)[0] == _PIPE_BYTES:
            self._read_first_attrs()
        else:
            self._read_head(head)

    def add_attr(self, record: bytes, at: int) -> None:
        """Take in the record of an event, which begins at `at`."""
        size = struct.unpack_from("<I", record, 12)[0] if len(record) >= 16 else 0
        if not 64 <= size <= len(record) - 8:
            raise self._source.damaged(at, f"an event of {size:,} bytes")
        self._add(record[8 : 8 + size], record[8 + size :], at)

    def add_tracing(self, content: bytes) -> None:
        """Look for the format of damon's tracepoint in perf's tracing data."""
        for number, text in _DAMON.findall(content):
            fields = fields_of(text.decode("ascii", "replace"))
            if all(name in fields for name in _DAMON_FIELDS):
                self._formats[int(number)] = tuple(fields[name] for name in _DAMON_FIELDS)

    def rows(self) -> I64:
        """int64[E, 23]: see `perf_attrs.row_of`."""
        rows = [row_of(attr, self._formats.get(attr.tracepoint, ())) for attr in self.attrs]
        return np.array(rows, np.int64).reshape(len(rows), COLUMNS)

    def ids(self) -> tuple[U64, I32, int]:
        """The ids of events, ascending; the event of each; and the word of a sample that has it (-1: one event only).

        Raises `UnsupportedError` when the samples of several events cannot be told apart.
        """
        keys = np.array(sorted(self._ids), np.uint64)
        events = np.array([self._ids[int(key)] for key in keys], np.int32)
        places = {_place_of_id(attr.sample_type) for attr in self.attrs}
        if len(self.attrs) <= 1:
            return keys, events, -1
        if len(places) > 1 or (places == {-1} and len({attr.sample_type for attr in self.attrs}) > 1):
            raise UnsupportedError(
                f"{self._source.name} has samples of several events that nothing tells apart",
                "record them with the newest perf",
            )
        return keys, events, places.pop()

    def _read_first_attrs(self) -> None:
        while self.cursor.have(8):
            kind, _, size = struct.unpack("<IHH", self.cursor.peek(8))
            if kind != HEADER_ATTR or size < 8 or not self.cursor.have(size):
                return
            at = self.cursor.at
            self.add_attr(self.cursor.take(size), at)

    def _read_head(self, start: bytes) -> None:
        head = start + self.cursor.take(_HEADER.size - len(start))
        if len(head) < _HEADER.size:
            raise self._source.damaged(len(head), "its header is cut off")
        _, size, attr_size, attrs_at, attrs_size, data_at, data_size, _, _, features, *_ = _HEADER.unpack(
            head
        )
        if size != _HEADER.size:
            raise self._source.damaged(8, f"a header of {size:,} bytes")
        if not 64 + 16 <= attr_size <= LARGEST_ATTR or attrs_size % attr_size:
            raise self._source.damaged(16, f"events of {attr_size:,} bytes")
        if attrs_size // attr_size > _MOST_EVENTS:
            raise self._source.damaged(32, f"{attrs_size // attr_size:,} events")
        if not _HEADER.size <= attrs_at <= attrs_at + attrs_size <= data_at <= _MOST_HEAD_BYTES:
            raise self._source.damaged(24, "its events are not before its data")
        before = _HEADER.size
        content = self.cursor.take(data_at - before)
        if len(content) < data_at - before:
            raise self._source.damaged(before + len(content), "its head is cut off")
        for at in range(attrs_at, attrs_at + attrs_size, attr_size):
            attr = content[at - before : at - before + attr_size]
            ids_at, ids_size = struct.unpack("<QQ", attr[-16:])
            if ids_size and not before <= ids_at <= ids_at + ids_size <= data_at:
                raise self._source.damaged(at + attr_size - 16, "the ids of an event are not before the data")
            self._add(
                attr[:-16], content[ids_at - before : ids_at - before + ids_size] if ids_size else b"", at
            )
        if not data_size:
            self.unended = True
            return
        self.cursor.end = data_at + data_size
        if features & _TRACING_DATA and any(attr.tracepoint >= 0 for attr in self.attrs):
            self.add_tracing(_tracing_data(self._source, data_at + data_size))

    def _add(self, attr: bytes, ids: bytes, at: int) -> None:
        try:
            parsed = attr_from(attr)
        except ValueError as error:
            raise self._source.damaged(at, str(error)) from None
        if len(self.attrs) >= _MOST_EVENTS:
            raise self._source.damaged(at, f"more than {_MOST_EVENTS:,} events")
        for key in np.frombuffer(ids, np.uint64, len(ids) // 8).tolist():
            self._ids[key] = len(self.attrs)
        self.attrs.append(parsed)

    @property
    def knows_regions(self) -> bool:
        """Whether one of its events is damon's tracepoint, with its format."""
        return any(attr.tracepoint in self._formats for attr in self.attrs)


def has_time(attrs: list[Attr]) -> bool:
    """Whether the samples of events with accesses have times."""
    return all(attr.sample_type & TIME for attr in attrs if attr.kind is not Kind.NONE)


def _check_magic(name: str, start: bytes) -> None:
    if start.startswith(SWAPPED):
        raise UnsupportedError(
            f"{name} was recorded by perf on a big-endian machine, and pghot reads little-endian files only",
            "import its text, made there: `perf script -F comm,pid,tid,time,period,event,addr,data_src`",
        )
    if start.startswith(FIRST_VERSION):
        raise UnsupportedError(
            f"{name} is of the first version of perf.data, from before Linux 3.3", "record with a newer perf"
        )


def _place_of_id(sample_type: int) -> int:
    if sample_type & IDENTIFIER:
        return 0
    return (sample_type & (IP | TID | TIME | ADDR)).bit_count() if sample_type & ID else -1


def _tracing_data(source: Input, features_at: int) -> bytes:
    """perf's tracing data, from the first section behind the data; nothing where it cannot be."""
    with opened(source.name) as again:
        cursor = Cursor(again)
        cursor.drop(features_at)
        section = cursor.take(16)
        if len(section) < 16:
            return b""
        at, size = struct.unpack("<QQ", section)
        if at < cursor.at or size > _MOST_TRACING_BYTES:
            return b""
        cursor.drop(at - cursor.at)
        return cursor.take(size)
