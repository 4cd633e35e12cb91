"""Rings of perf records, decoded: nothing is invented, nothing lost silently, and any bytes come to an end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from builders.rings import record, ring_of
from pghot.kernel import perf_event as pe
from pghot.kernel import perf_records as pr
from pghot.kernel.perf_decode import decode_samples
from references.kernel.perf_decode import decode_reference

RING = 1 << 12
BITS = (
    pe.SAMPLE_IP, pe.SAMPLE_TID, pe.SAMPLE_TIME, pe.SAMPLE_ADDR, pe.SAMPLE_CPU, pe.SAMPLE_PERIOD, pe.SAMPLE_WEIGHT,
    pe.SAMPLE_DATA_SRC, pe.SAMPLE_PHYS_ADDR,
)  # fmt: skip
ROWS = (None, pr.PID, pr.TIME, pr.ADDR, pr.CPU, pr.PERIOD, pr.WEIGHT, pr.DATA_SRC, pr.PHYS_ADDR)
LOST, COMM, EXIT, THROTTLE, UNTHROTTLE, FORK, SAMPLE, AUX, LOST_SAMPLES = 2, 3, 4, 5, 6, 7, 9, 11, 13

words = st.integers(0, (1 << 64) - 1)
tails = st.integers(0, RING // 8 * 5).map(lambda word: 8 * word)
sample_types = st.sets(st.sampled_from(range(len(BITS))), min_size=1).map(sorted)


@st.composite
def written(draw: st.DrawFn) -> tuple[list[int], list[tuple[int, list[int]]]]:
    """(indices into BITS, records as (kind, words)) that fit a ring."""
    chosen = draw(sample_types)
    other = st.tuples(
        st.sampled_from([LOST, COMM, EXIT, THROTTLE, UNTHROTTLE, FORK, AUX, LOST_SAMPLES]),
        st.lists(st.integers(0, 1 << 40), min_size=3, max_size=5),
    )
    sample = st.tuples(st.just(SAMPLE), st.lists(words, min_size=len(chosen), max_size=len(chosen)))
    return chosen, draw(st.lists(sample | other, max_size=40))


def decoded(ring: np.ndarray, tail: int, head: int, sample_type: int, room: int = 256) -> pr.Samples:
    """The kernel's result, after checking it against the reference."""
    kinds = pr.words_of(sample_type)
    fast, plain = pr.Samples.sized(room), pr.Samples.sized(room)
    decode_samples(ring, tail, head, kinds, fast)
    decode_reference(ring.view(np.uint64), tail, head, kinds, plain.fields, plain.counts)
    np.testing.assert_array_equal(fast.counts, plain.counts)
    np.testing.assert_array_equal(fast.fields, plain.fields)
    return fast


@given(written(), tails)
def test_what_was_written_comes_out_in_order_across_the_ring_s_end(case, tail):
    chosen, records = case
    data = b"".join(record(kind, body) for kind, body in records)
    out = decoded(ring_of(data, tail, RING), tail, tail + len(data), sum(BITS[i] for i in chosen))
    samples = [body for kind, body in records if kind == SAMPLE]
    assert out.counts[pr.FOUND] == len(samples)
    assert out.counts[pr.TAIL] == tail + len(data)
    for position, index in enumerate(chosen):
        row = ROWS[index]
        if row is not None:
            mask = 0xFFFFFFFF if row in (pr.PID, pr.CPU) else (1 << 64) - 1
            assert out.fields[row, : len(samples)].tolist() == [body[position] & mask for body in samples]
    lost = sum(body[1] for kind, body in records if kind == LOST)
    lost += sum(body[0] for kind, body in records if kind == LOST_SAMPLES)
    gaps = sum(kind == AUX and body[2] & 0xD != 0 for kind, body in records)
    assert out.counts[pr.LOST] == lost
    assert out.counts[pr.THROTTLED] == sum(kind == THROTTLE for kind, _ in records)
    assert out.counts[pr.AUX_LOST] == gaps
    counted = sum(kind in (LOST, LOST_SAMPLES, THROTTLE, SAMPLE) for kind, _ in records) + gaps
    assert out.counts[pr.OTHER] == len(records) - counted
    assert out.counts[pr.CORRUPT] == 0


headers = st.builds(
    lambda kind, misc, size: kind | misc << 32 | size << 48,
    st.integers(0, 20), st.integers(0, 0xFFFF), st.sampled_from([0, 7, 8, 16, 24, 32, 40, 65528]),
)  # fmt: skip


@given(
    st.lists(headers | words, min_size=32, max_size=32), st.integers(0, 99), st.integers(0, 32), sample_types
)
@example([0] * 32, 0, 32, [1])
def test_any_bytes_end_and_equal_the_reference(content, tail, length, chosen):
    ring = np.array(content, np.uint64).view(np.uint8)
    out = decoded(ring, 8 * tail, 8 * (tail + length), sum(BITS[i] for i in chosen), room=3)
    assert 8 * tail <= out.counts[pr.TAIL] <= 8 * (tail + length)
    assert out.counts[pr.FOUND] <= 3


@pytest.mark.parametrize("size", [0, 4, 7, 12, 8 * 20], ids=["none", "half", "odd", "unaligned", "beyond"])
def test_a_senseless_size_is_counted_and_the_rest_skipped(size: int) -> None:
    good = record(SAMPLE, [77, 4096])
    bad = bytearray(record(SAMPLE, [78, 8192]))
    bad[6:8] = size.to_bytes(2, "little")
    data = good + bytes(bad) + record(SAMPLE, [79, 12288])
    out = decoded(ring_of(data, 0, RING), 0, len(data), pe.SAMPLE_TID | pe.SAMPLE_ADDR)
    assert out.counts[[pr.FOUND, pr.CORRUPT, pr.TAIL]].tolist() == [1, 1, len(data)]
    assert out.fields[pr.PID, 0] == 77


def test_a_sample_too_short_for_its_type_is_corrupt_and_costs_only_itself() -> None:
    data = record(SAMPLE, [77]) + record(SAMPLE, [78, 4096])
    out = decoded(ring_of(data, 0, RING), 0, len(data), pe.SAMPLE_TID | pe.SAMPLE_ADDR)
    assert out.counts[[pr.FOUND, pr.CORRUPT]].tolist() == [1, 1]
    assert out.fields[pr.PID, 0] == 78


@given(written(), tails, st.integers(1, 7))
def test_a_full_output_stops_before_what_has_no_room_and_goes_on_from_there(case, tail, room):
    chosen, records = case
    data = b"".join(record(kind, body) for kind, body in records)
    ring, sample_type = ring_of(data, tail, RING), sum(BITS[i] for i in chosen)
    totals = np.zeros(7, np.int64)
    at = tail
    while at < tail + len(data):
        out = decoded(ring, at, tail + len(data), sample_type, room)
        assert out.counts[pr.TAIL] > at
        at = int(out.counts[pr.TAIL])
        totals += out.counts
    whole = decoded(ring, tail, tail + len(data), sample_type)
    np.testing.assert_array_equal(totals[1:], whole.counts[1:])


def test_bits_that_are_not_decoded_are_refused() -> None:
    with pytest.raises(ValueError, match="0x200"):
        pr.words_of(pe.SAMPLE_TID | 1 << 9)
