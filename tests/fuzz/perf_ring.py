"""Rings that the kernel and the hardware write: perf records (hint faults, IBS, PEBS) and the packets of Arm's SPE.

What comes out is compared with slow, plain decoders. Damage that makes no sense must be counted, never decoded.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from builders.damage import damaged_bytes, odd_number
from builders.rings import record, ring_of, spe_record
from fuzz.harness import Silent
from pghot import mem_data_src as ds
from pghot.arrays import U8, U64
from pghot.kernel import perf_event as pe
from pghot.kernel import perf_records as pr
from pghot.kernel import spe_packets as sp
from pghot.kernel.perf_decode import decode_samples
from pghot.kernel.spe_decode import decode_records
from references.kernel import perf_decode, spe_decode

NAME = "perf_ring"

# As the live sources ask for samples, and all bits together.
_TYPES = (
    pe.SAMPLE_TID | pe.SAMPLE_ADDR,
    pe.SAMPLE_TID | pe.SAMPLE_TIME | pe.SAMPLE_ADDR | pe.SAMPLE_CPU,
    pe.SAMPLE_TID | pe.SAMPLE_ADDR | pe.SAMPLE_CPU | pe.SAMPLE_DATA_SRC | pe.SAMPLE_PHYS_ADDR,
    pe.SAMPLE_IP | pe.SAMPLE_TID | pe.SAMPLE_TIME | pe.SAMPLE_ADDR | pe.SAMPLE_CPU | pe.SAMPLE_PERIOD
    | pe.SAMPLE_WEIGHT | pe.SAMPLE_DATA_SRC | pe.SAMPLE_PHYS_ADDR | pe.SAMPLE_DATA_PAGE_SIZE,
)  # fmt: skip
_KINDS = (1, 2, 3, 4, 5, 6, 7, 9, 9, 9, 9, 11, 12, 13, 14, 0xFFFFFFFF)
_RINGS = (1 << 12, 1 << 13, 1 << 16)
_WORD = (1 << 64) - 1
# The first pass compiles; children inherit what was compiled.
decode_samples(np.zeros(4096, np.uint8), 0, 8, pr.words_of(_TYPES[0]), pr.Samples.sized(1))
decode_records(np.zeros(4096, np.uint8), 0, 8, sp.Records.sized(1))


@dataclass(frozen=True, slots=True)
class Made:
    """A ring with bytes [tail, head) in it, and how many records there is room for. `sample_type` 0: packets of SPE."""

    ring: U8
    tail: int
    head: int
    room: int
    sample_type: int


def _word(rng: random.Random) -> int:
    number = odd_number(rng)
    return int(number) & _WORD if abs(number) < 1e300 else rng.getrandbits(64)


def _records(rng: random.Random, words: int) -> bytes:
    parts = []
    for _ in range(rng.randrange(60)):
        kind = rng.choice(_KINDS)
        count = words if kind == pr.RECORD_SAMPLE and rng.random() < 0.9 else rng.randrange(6)
        parts.append(record(kind, [_word(rng) for _ in range(count)], rng.getrandbits(16)))
    return b"".join(parts)


def _packets(rng: random.Random) -> bytes:
    return b"".join(
        spe_record(
            physical=rng.choice((None, rng.getrandbits(52))),
            events=rng.getrandbits(16),
            source=rng.choice((None, rng.getrandbits(8))),
            store=rng.random() < 0.5,
            virtual=rng.getrandbits(64),
            latency=rng.getrandbits(16),
            timestamp=rng.choice((None, rng.getrandbits(64))),
        )
        for _ in range(rng.randrange(60))
    )


def make(rng: random.Random, folder: Path) -> Made:
    """A ring as the kernel leaves it, in half of the inputs damaged."""
    sample_type = rng.choice((*_TYPES, 0))
    data = _records(rng, len(pr.words_of(sample_type))) if sample_type else _packets(rng)
    if rng.random() < 0.5:
        data = damaged_bytes(rng, data)
        if sample_type:  # the kernel's positions are whole words
            data = data[: len(data) & ~7]
    size = rng.choice(_RINGS)
    data = data[:size]
    tail = rng.choice((0, 8 * rng.randrange(size), size - 8, (1 << 40) + 8 * rng.randrange(size)))
    return Made(ring_of(data, tail, size), tail, tail + len(data), rng.choice((0, 1, 7, 4096)), sample_type)


def check(made: Made) -> str:
    """Decode the ring as its source does, pass by pass; raises `Silent` where the slow decoder finds another thing."""
    return _check_samples(made) if made.sample_type else _check_packets(made)


def _check_samples(made: Made) -> str:
    words = pr.words_of(made.sample_type)
    fast, slow = pr.Samples.sized(made.room), pr.Samples.sized(made.room)
    tail, corrupt = made.tail, 0
    while True:
        before = made.ring.copy()
        found = decode_samples(made.ring, tail, made.head, words, fast)
        perf_decode.decode_reference(
            made.ring.view(np.uint64), tail, made.head, words, slow.fields, slow.counts
        )
        _same(made, before, (fast.fields, slow.fields), (fast.counts, slow.counts))
        _check_levels(fast.fields[pr.DATA_SRC, :found])
        corrupt += int(fast.counts[pr.CORRUPT])
        if int(fast.counts[pr.TAIL]) in (tail, made.head):
            return "refused" if corrupt else "accepted"
        tail = int(fast.counts[pr.TAIL])


def _check_packets(made: Made) -> str:
    fast, slow = sp.Records.sized(made.room), sp.Records.sized(made.room)
    tail, corrupt = made.tail, 0
    while True:
        before = made.ring.copy()
        decode_records(made.ring, tail, made.head, fast)
        spe_decode.decode_reference(made.ring, tail, made.head, slow.fields, slow.counts)
        _same(made, before, (fast.fields, slow.fields), (fast.counts, slow.counts))
        corrupt += int(fast.counts[sp.CORRUPT])
        if int(fast.counts[sp.TAIL]) in (tail, made.head):
            return "refused" if corrupt else "accepted"
        tail = int(fast.counts[sp.TAIL])


def _same(made: Made, before: U8, fields: tuple[U64, U64], counts: tuple[object, object]) -> None:
    if not np.array_equal(made.ring, before):
        raise Silent("the ring was written to")
    for name, (fast, slow) in (("counts", counts), ("fields", fields)):
        if not np.array_equal(fast, slow):  # type: ignore[arg-type]
            raise Silent(f"{name}: {fast} where the slow decoder finds {slow}")


def _check_levels(data_src: U64) -> None:
    """Each answer about where data came from, bit by bit in Python."""
    answers = (ds.memory_hits, ds.unknown_levels, ds.stores, ds.stores_that_missed_l1)
    found = np.array([answer(data_src) for answer in answers]).T.tolist()
    for word, said in zip(data_src.tolist(), found, strict=True):
        (level,) = struct.unpack("<H", struct.pack("<H", word >> 5 & 0x3FFF))
        number, store = word >> 33 & 0xF, bool(word & 4)
        miss = bool(level & 4)
        memory = (
            bool(level & 0x380) or number in (0x9, 0xD, 0xE) or (miss and (number == 3 or bool(level & 0x40)))
        )
        unknown = not level & ~7 and number in (0, 0xF)
        if said != [memory, unknown, store, store and bool(level & 8) and miss]:
            raise Silent(f"data source {word:#x}: {said}")
