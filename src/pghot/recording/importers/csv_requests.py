"""CSV with a header line: accesses of addresses, requests for blocks of a disk, or for objects of a cache."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from pghot.arrays import Bool
from pghot.errors import UsageError
from pghot.recording.csv_export import SCHEMA
from pghot.recording.importers.block_requests import WRITE_COMMANDS, page_accesses
from pghot.recording.importers.importer import Accesses, Clock, Found, accesses
from pghot.recording.importers.input import Input

_WHERE = {
    "address": ("address", "addr", "vaddr", "virtual_address"),
    "block": ("lbn", "lba", "block"),
    "object": ("obj_id", "object_id", "object", "obj", "id", "key"),
}
_TIME_NS = {
    "time": 10**9, "timestamp": 10**9, "clock_time": 10**9, "ts": 10**9, "time_s": 10**9, "time_ms": 10**6,
    "time_us": 10**3, "time_ns": 1,
}  # fmt: skip
_SIZE = ("size", "obj_size", "bytes", "len")
_OPERATION = ("op", "operation", "cmd", "rw")
_WRITES = (*(f"{command:x}" for command in WRITE_COMMANDS), "w", "write", "set", "put", "store", "st", "s")
_LATEST_S = 1 << 33
_ASCII = bytes(byte if byte < 128 else ord("?") for byte in range(256))  # other letters are in no number


class CsvRequests:
    """Which columns there are, the header says: a place (address, block or object), and perhaps time, size and
    operation. Any order; separated by a comma, a semicolon or a tabulator."""

    name: ClassVar[str] = "csv"
    summary: ClassVar[str] = "CSV with a header (an address, lbn or obj_id; time, size, op)"
    clock = Clock.OWN
    slice_ns = 1_000_000_000
    every_access = False
    objects = False
    guessed = 0
    not_known: tuple[str, ...] = ()

    def __init__(self, source: Input) -> None:
        self._source = source
        self.found = Found()
        self._names, self._separator = _header(source.start())
        if self._names == SCHEMA.names:
            raise UsageError(
                f"{source.name} is a recording as pghot writes it for other programs: its instructions and caches are "
                "not in it",
                "convert the recording to .parquet instead, which can be read again",
            )
        self._place = next(kind for kind, names in _WHERE.items() if _first(self._names, names))
        self._where = _first(self._names, _WHERE[self._place])
        self._time, self._size = _first(self._names, tuple(_TIME_NS)), _first(self._names, _SIZE)
        self._operation = _first(self._names, _OPERATION)
        self.objects = self._place == "object"
        self.every_access = self._place == "address" and not self._time
        if not self._time:
            self.clock, self.slice_ns = Clock.DECLARED, 1_000_000
        self.not_known = tuple(self._unknown())

    def _unknown(self) -> Iterator[str]:
        if self.objects:
            yield "requests are for objects without addresses: each object counts as one page, whatever its size"
        if self._place == "block":
            yield "addresses are those of a disk: its pages stand for memory"
        if not self._operation:
            yield "writes are not known: every access counts as a read"

    @staticmethod
    def claims(name: str, start: bytes) -> bool:
        names, _ = _header(start)
        return len(names) > 1 and any(_first(names, each) for each in _WHERE.values())

    def accesses(self) -> Iterator[Accesses]:
        head = True
        for at, text in self._source.lines():
            body = (text[text.index(b"\n") + 1 :] if head else text).translate(_ASCII)
            head = False
            if body.strip():
                yield from self._parsed(at, body)

    def _parsed(self, at: int, body: bytes) -> Iterator[Accesses]:
        table = self._table(at, body)
        where = _whole_numbers(table, self._where)
        time_s = _numbers(table, self._time)
        size = _numbers(table, self._size)
        good = ~np.isnan(time_s) & (time_s >= 0) & (time_s * _TIME_NS.get(self._time, 1) < _LATEST_S * 1e9)
        good &= ~np.isnan(size) & (size >= 0) & (size < 1 << 32)
        good &= where[1]
        if not good.all():
            self.found.losses["lines without the numbers that they should have"] += int(np.sum(~good))
        time_ns = (time_s[good] * _TIME_NS.get(self._time, 1)).astype(np.uint64)
        place, write = where[0][good], self._writes(table)[good]
        if self._place == "block":
            yield from page_accesses(time_ns, place, size[good].astype(np.uint32), write, self.found)
        else:
            yield accesses(place, time_ns, write)

    def _table(self, at: int, body: bytes) -> pa.Table:
        wanted = [name for name in (self._where, self._time, self._size, self._operation) if name]
        try:
            return pacsv.read_csv(
                io.BytesIO(body),
                pacsv.ReadOptions(column_names=self._names, use_threads=False, block_size=len(body) + 1),
                pacsv.ParseOptions(delimiter=self._separator, invalid_row_handler=self._skip),
                pacsv.ConvertOptions(
                    include_columns=wanted, column_types=dict.fromkeys(wanted, pa.binary()), null_values=[]
                ),
            )
        except pa.ArrowException as error:
            reason = (str(error).splitlines() or ["?"])[0]
            raise self._source.damaged(at, f"no CSV: {reason}") from None

    def _skip(self, row: Any) -> str:
        self.found.losses["lines of another number of columns"] += 1
        return "skip"

    def _writes(self, table: pa.Table) -> Bool:
        if not self._operation:
            return np.zeros(len(table), np.bool_)
        words = pa.array([word.encode() for word in _WRITES])
        lower = pc.ascii_lower(pc.cast(table[self._operation], pa.string(), safe=False))
        plain = pc.replace_substring(pc.utf8_trim_whitespace(lower), "0x", "")
        return np.asarray(pc.is_in(pc.cast(plain, pa.binary()), words).to_numpy())


def _header(start: bytes) -> tuple[list[str], str]:
    """The names of the columns and what separates them."""
    line = start.split(b"\n")[0].decode("ascii", "replace").strip().lstrip("# ")
    separator = max(",;\t", key=line.count)
    names = [name.strip().strip('"').lower() for name in line.split(separator)]
    return [name if names.index(name) == i else f"{name}.{i}" for i, name in enumerate(names)], separator


def _first(names: list[str], wanted: tuple[str, ...]) -> str:
    return next((name for name in wanted if name in names), "")


def _whole_numbers(table: pa.Table, name: str) -> tuple[npt.NDArray[np.uint64], Bool]:
    """Each number, decimal or hexadecimal after 0x; and whether there is one."""
    text = pc.cast(table[name], pa.string(), safe=False).combine_chunks()
    plain = pc.utf8_trim_whitespace(text)
    hexadecimal = pc.match_substring_regex(plain, "^0[xX][0-9a-fA-F]{1,16}$").to_numpy(zero_copy_only=False)
    decimal = pc.match_substring_regex(plain, "^[0-9]{1,19}$").to_numpy(zero_copy_only=False)
    values = (
        pc.cast(pc.if_else(pa.array(decimal), plain, "0"), pa.uint64()).to_numpy(zero_copy_only=False).copy()
    )
    for i in np.flatnonzero(hexadecimal):
        values[i] = int(plain[i].as_py(), 16)
    return values, hexadecimal | decimal


def _numbers(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    """Each number, NaN where there is none; zeros without such a column."""
    if not name:
        return np.zeros(len(table))
    plain = pc.utf8_trim_whitespace(pc.cast(table[name], pa.string(), safe=False)).combine_chunks()
    good = pc.match_substring_regex(plain, r"^[0-9]{1,20}(\.[0-9]{1,12})?$")
    return np.asarray(pc.cast(pc.if_else(good, plain, "nan"), pa.float64()).to_numpy(zero_copy_only=False))
