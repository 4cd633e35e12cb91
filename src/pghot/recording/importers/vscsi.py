"""VMware's vscsi traces, versions 1 and 2: packed records of 32 and 40 bytes.

Layouts (libCacheSim, traceReader/customizedReader):
1: uint32 serial | uint32 bytes | uint32 segments | uint16 command | uint16 version | uint64 block | uint64 time [us]
2: uint16 command | uint16 version | uint32 serial | uint32 bytes | uint32 segments | uint64 block | uint64 time [us]
   | uint64 response time [us]

The high byte of `version` is 1 or 2. Commands are those of SCSI.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from pghot.recording.importers.block_requests import WRITE_COMMANDS, page_accesses
from pghot.recording.importers.importer import Accesses, Clock, Found
from pghot.recording.importers.input import Input

_COMMON = [("serial", "<u4"), ("bytes", "<u4"), ("segments", "<u4")]
_KIND = [("command", "<u2"), ("version", "<u2")]
_PLACE = [("block", "<u8"), ("time_us", "<u8")]
V1 = np.dtype([*_COMMON, *_KIND, *_PLACE])
V2 = np.dtype([*_KIND, *_COMMON, *_PLACE, ("response_us", "<u8")])
_READS = (0x08, 0x28, 0x88, 0xA8)


class Vscsi:
    """A request is an access of each page that it reads or writes, at the address of its block on the disk."""

    name: ClassVar[str] = "vscsi"
    summary: ClassVar[str] = "vscsi (binary, versions 1 and 2)"
    clock = Clock.OWN
    slice_ns = 1_000_000_000
    every_access = False
    objects = False
    guessed = 0
    not_known: tuple[str, ...] = ("addresses are those of a disk: its pages stand for memory",)

    def __init__(self, source: Input) -> None:
        self._source = source
        self.found = Found()

    @staticmethod
    def claims(name: str, start: bytes) -> bool:
        return _record_of(start) is not None

    def accesses(self) -> Iterator[Accesses]:
        record = _record_of(self._source.start())
        assert record is not None  # it was claimed
        version = 1 if record is V1 else 2
        for at, block in self._source.records(record.itemsize):
            if len(block) < record.itemsize:
                self.found.losses["bytes at the end that are no whole record"] += len(block)
                return
            records = np.frombuffer(block, record)
            wrong = np.flatnonzero(records["version"] >> 8 != version)
            if len(wrong):
                raise self._source.damaged(
                    at + int(wrong[0]) * record.itemsize, f"a record that is not of version {version}"
                )
            yield from page_accesses(
                records["time_us"] * np.uint64(1000),
                records["block"],
                records["bytes"],
                np.isin(records["command"], WRITE_COMMANDS),
                self.found,
            )


def _record_of(start: bytes) -> np.dtype[np.void] | None:
    """The layout that all whole records of these bytes agree with."""
    for version, record in ((1, V1), (2, V2)):
        records = np.frombuffer(start, record, len(start) // record.itemsize)
        known = np.isin(records["command"], (*_READS, *WRITE_COMMANDS))
        if len(records) and (records["version"] >> 8 == version).all() and known.any():
            return record
    return None
