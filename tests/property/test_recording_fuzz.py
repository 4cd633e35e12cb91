"""A damaged recording never gives wrong slices: only an error, or fewer slices and a counted loss."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pghot.errors import PghotError
from pghot.recording.batches import concatenate, part
from pghot.recording.framing import messages
from pghot.recording.reader import Recording, open_recording
from pghot.recording.trace import MemoryTrace, Region, SliceBatch, TraceInfo, Verification
from pghot.recording.writer import RecordingWriter

INFO = TraceInfo("fuzz", "test", 1_000_000, nodes=2, command=("true",))
REGIONS = (Region(0, 64, 0, 1 << 21, "[heap]"), Region(64, 36, 0, 1 << 30, "/lib/libm.so"))


def _trace() -> MemoryTrace:
    parts = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        keys = np.concatenate([np.sort(rng.choice(200, 9, replace=False)) for _ in range(4)])
        touches = rng.integers(1, 1 << 18, len(keys)).astype(np.uint32)
        parts.append(
            SliceBatch(
                start_ns=np.arange(4 * seed, 4 * seed + 4, dtype=np.uint64),
                instructions=np.full(4, 23, np.uint64),
                offsets=np.arange(5, dtype=np.int64) * 9,
                page=(keys // 2).astype(np.uint32),
                touches=touches,
                misses=touches // 2,
                sequential=touches // 3,
                writes=touches // 5,
                node=(keys % 2).astype(np.int16),
            )
        )
    return MemoryTrace(INFO, 100, REGIONS, parts)


TRACE = _trace()
WHOLE = concatenate(TRACE.parts)


def _content() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.pghot"
        with RecordingWriter(path, INFO, flush_slices=4) as writer:
            for batch, region in zip(TRACE.parts, [REGIONS[:1], REGIONS[1:], ()], strict=True):
                writer.append(batch, region)
            writer.finish(exit_status=0, pages=100)
        return path.read_bytes()


CONTENT = _content()


class Bytes:
    """A `ByteSource` in memory."""

    def __init__(self, content: bytes) -> None:
        self.size = len(content)
        self._content = memoryview(content)

    def read(self, offset: int, length: int) -> memoryview:
        return self._content[offset : offset + length]


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "a.pghot"


def check(path: Path, content: bytes, verify: bool) -> None:
    """A reader refuses `content` in one line with a remedy, or says nothing untrue of the original."""
    path.write_bytes(content)
    try:
        recording = open_recording(path, verify=verify)
        found = concatenate(list(recording.batches()))
    except PghotError as error:
        refusal = error
    else:
        check_truth(recording, found)
        return
    assert "\n" not in str(refusal)
    assert refusal.hint


def check_truth(recording: Recording, found: SliceBatch) -> None:
    """What was read is the original, or its beginning and called truncated."""
    assert replace(recording.info, verification=None, doubt="") == INFO
    assert set(recording.regions) <= set(REGIONS)
    assert recording.slices == found.slices
    expected = part(WHOLE, 0, found.slices)
    for name in SliceBatch.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert recording.total_touches == expected.touches.sum()
    assert recording.footprint_pages == len(np.unique(expected.page))
    if recording.info.verification is Verification.VERIFIED:
        assert found.slices == WHOLE.slices
        assert recording.regions == REGIONS
        assert recording.final["exit_status"] == 0


@given(st.integers(0, len(CONTENT)), st.booleans())
def test_truncation(path: Path, size: int, verify: bool) -> None:
    check(path, CONTENT[:size], verify)


@settings(max_examples=600)
@given(
    st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(1, 255)), min_size=1, max_size=4),
    st.booleans(),
)
def test_flipped_bytes(path: Path, flips: list[tuple[int, int]], verify: bool) -> None:
    content = bytearray(CONTENT)
    for at, mask in flips:
        content[at] ^= mask
    check(path, bytes(content), verify)


def test_every_byte_of_a_batch(path: Path) -> None:
    """Every single one, because Hypothesis seldom hits the few bytes that only the checksums protect."""
    batch = list(messages(Bytes(CONTENT)))[2]
    for at in range(batch.offset, batch.end):
        content = bytearray(CONTENT)
        content[at] ^= 1 << at % 8
        check(path, bytes(content), False)


@given(st.integers(0, len(CONTENT)), st.binary(max_size=64), st.integers(0, 64), st.booleans())
def test_bytes_put_in_or_cut_out(path: Path, at: int, inserted: bytes, removed: int, verify: bool) -> None:
    check(path, CONTENT[:at] + inserted + CONTENT[at + removed :], verify)


@given(
    st.integers(0, len(CONTENT) // 4 - 2),
    st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF8]),
    st.booleans(),
)
def test_words_that_look_like_lengths(path: Path, word: int, value: int, verify: bool) -> None:
    content = bytearray(CONTENT)
    content[4 * word : 4 * word + 4] = value.to_bytes(4, "little")
    check(path, bytes(content), verify)


@given(st.binary(max_size=300))
def test_noise_after_a_message_mark(path: Path, noise: bytes) -> None:
    check(path, b"\xff\xff\xff\xff" + noise, True)
