"""SPE records built packet by packet come out as they went in, and any bytes come to an end."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from builders.rings import ring_of, spe_address, spe_record
from pghot.kernel import spe_packets as spe
from pghot.kernel.spe_decode import decode_records
from pghot.kernel.spe_packets import Records
from references.kernel.spe_decode import decode_reference

AREA = 1 << 12
LOAD_STORE_CLASS = 1 << 8
tails = st.integers(0, 5 * AREA)
addresses = st.integers(0, (1 << 56) - 1)


def decoded(ring: np.ndarray, tail: int, head: int, room: int = 64) -> Records:
    """The kernel's result, after checking it against the reference."""
    fast, plain = Records.sized(room), Records.sized(room)
    decode_records(ring, tail, head, fast)
    decode_reference(ring, tail, head, plain.fields, plain.counts)
    np.testing.assert_array_equal(fast.counts, plain.counts)
    np.testing.assert_array_equal(fast.fields, plain.fields)
    return fast


operations = st.fixed_dictionaries(
    {
        "physical": st.none() | addresses,
        "virtual": addresses,
        "events": st.integers(0, 0xFFFF),
        "source": st.none() | st.integers(0, 255),
        "store": st.booleans(),
        "latency": st.integers(0, 0xFFFF),
        "timestamp": st.none() | st.integers(0, (1 << 64) - 1),
    }
)


@given(st.lists(operations, max_size=30), st.lists(st.integers(0, 40), min_size=30, max_size=30), tails)
def test_records_come_out_as_they_went_in(given_records, pads, tail):
    data = b"".join(spe_record(**one) + b"\0" * pad for one, pad in zip(given_records, pads, strict=False))
    out = decoded(ring_of(data, tail, AREA), tail, tail + len(data))
    found = len(given_records)
    assert out.counts.tolist() == [tail + len(data), found, 0, 0]

    def row(number: int) -> list[int]:
        return out.fields[number, :found].tolist()

    assert row(spe.PHYS_ADDR) == [one["physical"] or 0 for one in given_records]
    assert row(spe.VIRT_ADDR) == [one["virtual"] for one in given_records]
    assert row(spe.EVENTS) == [one["events"] for one in given_records]
    assert row(spe.SOURCE) == [one["source"] or 0 for one in given_records]
    assert row(spe.LATENCY) == [one["latency"] for one in given_records]
    assert row(spe.OPERATION) == [LOAD_STORE_CLASS | one["store"] for one in given_records]
    assert row(spe.TIMESTAMP) == [one["timestamp"] or 0 for one in given_records]
    assert [bool(has >> spe.PHYS_ADDR & 1) for has in row(spe.HAS)] == [
        one["physical"] is not None for one in given_records
    ]


# Bytes that mean something, so that the walk gets far.
meaningful = st.sampled_from(
    [
        0x00,
        0x01,
        0x71,
        0x42,
        0x52,
        0x62,
        0x43,
        0x64,
        0x65,
        0x49,
        0xB0,
        0xB2,
        0xB3,
        0x98,
        0x99,
        0x20,
        0x23,
        0xFF,
    ]
)


@given(st.lists(meaningful | st.integers(0, 255), min_size=128, max_size=128), tails, st.integers(0, 128))
def test_any_bytes_end_and_equal_the_reference(content, tail, length):
    out = decoded(np.array(content, np.uint8), tail, tail + length, room=2)
    assert tail <= out.counts[spe.TAIL] <= tail + length
    assert out.counts[spe.FOUND] <= 2


@given(st.lists(operations, min_size=1, max_size=30), tails, st.integers(1, 5))
def test_a_full_output_goes_on_from_where_it_stopped(given_records, tail, room):
    data = b"".join(spe_record(**one) for one in given_records)
    ring = ring_of(data, tail, AREA)
    at, virtual = tail, []
    while at < tail + len(data):
        out = decoded(ring, at, tail + len(data), room)
        assert out.counts[spe.TAIL] > at
        at = int(out.counts[spe.TAIL])
        virtual += out.fields[spe.VIRT_ADDR, : int(out.counts[spe.FOUND])].tolist()
    assert virtual == [one["virtual"] for one in given_records]


def test_bytes_that_are_no_packet_cost_their_record_only() -> None:
    before, after = spe_record(physical=0x1000), spe_record(physical=0x3000)
    broken = spe_record(physical=0x2000)
    broken = broken[:9] + b"\xff\xff" + broken[9:]
    data = before + broken + after
    out = decoded(ring_of(data, 0, AREA), 0, len(data))
    assert out.fields[spe.PHYS_ADDR, : int(out.counts[spe.FOUND])].tolist() == [0x1000, 0x3000]
    assert out.counts[spe.CORRUPT] == 1


def test_a_record_cut_off_at_the_head_is_corrupt_and_not_invented() -> None:
    whole = spe_record(physical=0x1000)
    for length in range(1, len(whole)):
        out = decoded(ring_of(whole, 0, AREA), 0, length)
        assert out.counts[[spe.FOUND, spe.TAIL]].tolist() == [0, length]
        # The address of the instruction alone says nothing about data: padding and such may follow it.
        assert out.counts[spe.CORRUPT] == (1 if length not in (9,) else 0)


def test_a_record_without_a_data_address_is_another_kind() -> None:
    branch = spe_address(0, 0x400000) + bytes([0x4A, 0x01]) + spe_address(1, 0x400100) + b"\x01"
    out = decoded(ring_of(branch, 0, AREA), 0, len(branch))
    assert out.counts.tolist() == [len(branch), 0, 1, 0]


def test_two_byte_headers_and_alignment() -> None:
    """An extended address packet (index 0b01011 = 11 is unknown), alignment to 16 bytes, then a plain record."""
    data = bytes([0x21, 0xB3]) + struct.pack("<Q", 0x5000) + b"\x01"
    data += bytes([0x23, 0x00]) + b"\xaa" * (16 - len(data) % 16 - 2)
    data += spe_record(physical=0x6000)
    out = decoded(ring_of(data, 0, AREA), 0, len(data))
    assert out.fields[spe.PHYS_ADDR, 0] == 0x6000
    assert out.counts[[spe.FOUND, spe.OTHER, spe.CORRUPT]].tolist() == [1, 1, 0]


def test_the_context_of_a_record() -> None:
    data = bytes([0x65]) + struct.pack("<I", 4711) + spe_record(physical=0x1000)
    out = decoded(ring_of(data, 0, AREA), 0, len(data))
    assert out.fields[spe.CONTEXT, 0] == 4711
