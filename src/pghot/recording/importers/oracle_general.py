"""libCacheSim's oracleGeneral: one packed record of 24 bytes for each request.

Layout (libCacheSim, traceReader/customizedReader/oracle):
uint32 clock_time [s] | uint64 obj_id | uint32 obj_size [bytes] | int64 next_access_vtime [requests, -1: never]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from pghot.arrays import U32, U64
from pghot.jit import kernel
from pghot.recording.importers.importer import Accesses, Clock, Found, accesses
from pghot.recording.importers.input import Input

RECORD = np.dtype([("clock_s", "<u4"), ("obj_id", "<u8"), ("obj_bytes", "<u4"), ("next_vtime", "<i8")])
_WORDS = RECORD.itemsize // 4
_NS_PER_S = np.uint64(1_000_000_000)
_LONGEST_STEP_S = 30 * 86400  # between two requests at the start of a file
_MOST_REQUESTS = 1 << 48


class OracleGeneral:
    """A request for an object is an access of a page that stands for the object, whatever its size."""

    name: ClassVar[str] = "oracleGeneral"
    summary: ClassVar[str] = "libCacheSim oracleGeneral (binary, 24 bytes a request)"
    clock = Clock.OWN
    slice_ns = 1_000_000_000
    every_access = False
    objects = True
    guessed = 1
    not_known: tuple[str, ...] = (
        "requests are for objects without addresses: each object counts as one page, whatever its size",
        "writes are not known: every request counts as a read",
    )

    def __init__(self, source: Input) -> None:
        self._source = source
        self.found = Found()

    @staticmethod
    def claims(name: str, start: bytes) -> bool:
        records = np.frombuffer(start, RECORD, len(start) // RECORD.itemsize)
        if not len(records) or not records["obj_bytes"].all():
            return False
        step_s = np.diff(records["clock_s"].astype(np.int64))
        after = records["next_vtime"]
        own = np.arange(len(records))
        plausible = (after == -1) | ((after > own) & (after < _MOST_REQUESTS))
        named = "oraclegeneral" in name.lower()
        return bool(plausible.all() and (step_s >= 0).all() and (named or (step_s < _LONGEST_STEP_S).all()))

    def accesses(self) -> Iterator[Accesses]:
        for _, block in self._source.records(RECORD.itemsize):
            if len(block) < RECORD.itemsize:
                self.found.losses["bytes at the end that are no whole record"] += len(block)
                return
            words = np.frombuffer(block, np.uint32).reshape(-1, _WORDS)
            time_ns, obj_id = np.empty(len(words), np.uint64), np.empty(len(words), np.uint64)
            take_requests(words, time_ns, obj_id)
            yield accesses(obj_id, time_ns)


@kernel
def take_requests(words: U32, time_ns: U64, obj_id: U64) -> None:
    """Fill in the time and the object of each request.

    words  uint32[N, 6]  the records
    """
    for i in range(len(words)):
        time_ns[i] = np.uint64(words[i, 0]) * _NS_PER_S
        obj_id[i] = np.uint64(words[i, 2]) << np.uint64(32) | np.uint64(words[i, 1])
