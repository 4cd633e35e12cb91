"""Samples of page contents: measured, written, read back, damaged, drawn from."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from builders.forged import resealed
from builders.recordings import INFO, REGIONS, all_slices, assert_same_slices, random_batch, random_trace
from pghot.errors import PghotError, UsageError
from pghot.kernel.process_memory import read_pages
from pghot.kernel.sysroot import SysRoot
from pghot.recording import bundled
from pghot.recording.coarsen import coarsen
from pghot.recording.compressibility import (
    CODINGS,
    DUPLICATE,
    SAME_FILLED,
    ZERO,
    Coding,
    Compressibility,
    concatenate,
    empty,
)
from pghot.recording.convert import convert
from pghot.recording.other_run import transplanted
from pghot.recording.page_contents import measure
from pghot.recording.page_sizes import (
    ENOUGH_SAMPLES,
    FAR_MEMORY,
    compressed_bytes_per_page,
    drawn_samples,
    published_bytes,
)
from pghot.recording.ratios import describe, lines
from pghot.recording.reader import open_recording
from pghot.recording.sample_text import MAX_SAMPLES, from_text, to_text
from pghot.recording.sampler import PAGES_IN_A_ROUND, PageSampler
from pghot.recording.trace import Region
from pghot.recording.writer import RecordingWriter, write_recording
from pghot.sealed import seal, unseal


@st.composite
def samples(draw: st.DrawFn, pages: int = 1536, at_least: int = 0) -> Compressibility:
    number = draw(st.integers(at_least, 60))
    codings = draw(st.sampled_from([CODINGS, CODINGS[:1], (Coding("lz4", 512),)]))
    return Compressibility(
        draw(hnp.arrays(np.uint32, number, elements=st.integers(0, pages - 1))),
        np.sort(draw(hnp.arrays(np.uint64, number, elements=st.integers(0, 5)))),
        draw(hnp.arrays(np.uint8, number, elements=st.sampled_from([0, ZERO, SAME_FILLED, DUPLICATE]))),
        draw(hnp.arrays(np.uint16, (len(codings), number), elements=st.integers(1, 4096))),
        codings,
    )


def assert_same(a: Compressibility | None, b: Compressibility | None) -> None:
    assert a is not None
    assert b is not None
    assert a.codings == b.codings
    for name in ("page", "time_ns", "flags", "stored"):
        left, right = getattr(a, name), getattr(b, name)
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right, err_msg=name)


def made(number: int, pages: int = 1536, seed: int = 0) -> Compressibility:
    """`number` samples of distinct pages."""
    random = np.random.default_rng(seed)
    return Compressibility(
        random.permutation(pages)[:number].astype(np.uint32),
        np.arange(number, dtype=np.uint64),
        np.zeros(number, np.uint8),
        random.integers(1, 4097, (len(CODINGS), number)).astype(np.uint16),
    )


# ---- the text


@given(samples())
def test_the_text_gives_the_samples_back(these: Compressibility) -> None:
    assert_same(from_text(to_text(these)), these)


@given(samples(at_least=1), st.data())
def test_changed_text_is_refused(these: Compressibility, data: st.DataObject) -> None:
    text = to_text(these)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from('0a{"]}=').filter(lambda letter: letter != text[at]))
    with pytest.raises(ValueError, match=r"."):
        from_text(text[:at] + other + text[at + 1 :])


@pytest.mark.parametrize(
    "change",
    [
        {"codings": []},
        {"codings": None},
        {"codings": [["lz4"]]},
        {"codings": [[1, 4096]]},
        {"codings": [["lz4", 4096]] * 20},
        {"rounds": None},
        {"rounds": [[1]]},
        {"rounds": [[0, -1]]},
        {"rounds": [[0, True]]},
        {"rounds": [[0, 1 << 40]]},
        {"rounds": [[0, 40]]},
        {"columns": None},
        {"columns": "!"},
        {"columns": "AAAA"},
    ],
)
def test_sealed_text_that_no_writer_wrote_is_refused(change: dict[str, object]) -> None:
    facts = unseal(to_text(made(5)))
    with pytest.raises(ValueError, match="samples"):
        from_text(seal({**facts, **change}))


@pytest.mark.parametrize("field", ["page", "flags", "stored"])
def test_values_that_no_page_has_are_refused(field: str) -> None:
    these = made(5)
    largest = np.full_like(getattr(these, field), np.iinfo(getattr(these, field).dtype).max)
    with pytest.raises(ValueError, match="samples of pages that cannot be"):
        from_text(to_text(replace(these, **{field: largest})))


# ---- the file


@settings(max_examples=25, deadline=None)
@given(st.lists(samples(), max_size=4))
def test_a_recording_keeps_its_samples(
    tmp_path_factory: pytest.TempPathFactory, parts: list[Compressibility]
) -> None:
    parts = [part for part in parts if part.codings == CODINGS]
    path = tmp_path_factory.mktemp("samples") / "it.pghot"
    with RecordingWriter(path, INFO) as writer:
        for seed in range(3):
            writer.append(random_batch(seed=seed), REGIONS if not seed else ())
            writer.flush()
            for part in parts[seed : seed + 1]:
                writer.add_samples(part)
        for part in parts[3:]:
            writer.add_samples(part)
    recording = open_recording(path, verify=True)
    assert recording.complete
    if sum(map(len, parts)):
        assert_same(recording.compressibility, concatenate(parts))
    else:
        assert recording.compressibility is None
    assert_same_slices(all_slices(recording), all_slices(random_trace(3)))


def test_samples_lie_beside_columns_that_stay_as_they_were(tmp_path: Path) -> None:
    trace = random_trace(2)
    write_recording(tmp_path / "without.pghot", trace)
    trace.compressibility = made(30)
    write_recording(tmp_path / "with.pghot", trace)
    tables = [pa.ipc.open_stream(tmp_path / f"{name}.pghot").read_all() for name in ("without", "with")]
    assert tables[0].equals(tables[1])
    assert_same(open_recording(tmp_path / "with.pghot").compressibility, trace.compressibility)


def test_a_killed_recorder_loses_only_what_was_not_flushed(tmp_path: Path) -> None:
    path = tmp_path / "it.pghot"
    writer = RecordingWriter(path, INFO)
    for seed in range(2):
        writer.append(random_batch(seed=seed), REGIONS)
        writer.add_samples(made(20, seed=seed))
        writer.flush()
    writer.add_samples(made(20, seed=2))
    assert_same(open_recording(path).compressibility, concatenate([made(20, seed=0), made(20, seed=1)]))
    path.write_bytes(path.read_bytes()[:-100])
    recording = open_recording(path)
    assert recording.dropped_bytes > 0
    assert_same(recording.compressibility, made(20, seed=0))


def damaged_samples(tmp_path: Path) -> Path:
    """A recording of two batches; one letter of the second batch's samples was changed."""
    path = tmp_path / "it.pghot"
    with RecordingWriter(path, INFO) as writer:
        for seed in range(2):
            writer.append(random_batch(seed=seed), REGIONS)
            writer.add_samples(made(20, seed=seed))
            writer.flush()
    data = bytearray(path.read_bytes())
    at = data.rindex(b'"rounds"') + 2
    data[at] ^= 1
    path.write_bytes(resealed(bytes(data)))
    return path


def test_damaged_samples_are_a_one_line_error_and_the_accesses_stay(tmp_path: Path) -> None:
    recording = open_recording(damaged_samples(tmp_path))
    assert_same_slices(all_slices(recording), all_slices(random_trace(2)))
    with pytest.raises(PghotError, match="damaged samples of page contents at byte") as error:
        assert recording.compressibility
    assert "\n" not in str(error.value)


def test_convert_keeps_what_comes_before_damaged_samples(tmp_path: Path) -> None:
    done = convert(damaged_samples(tmp_path), tmp_path / "good.pghot")
    assert done.damage
    good = open_recording(tmp_path / "good.pghot", verify=True)
    assert_same(good.compressibility, made(20, seed=0))
    assert good.slices == 7


@settings(max_examples=15, deadline=None)
@given(samples(at_least=1))
def test_parquet_and_back_keeps_samples(
    tmp_path_factory: pytest.TempPathFactory, these: Compressibility
) -> None:
    folder = tmp_path_factory.mktemp("convert")
    trace = random_trace(2)
    trace.compressibility = these
    write_recording(folder / "a.pghot", trace)
    convert(folder / "a.pghot", folder / "b.parquet")
    convert(folder / "b.parquet", folder / "c.pghot")
    convert(folder / "c.pghot", folder / "d.pghot")
    assert_same(open_recording(folder / "d.pghot").compressibility, these)


def test_damaged_samples_in_parquet_are_a_one_line_error(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    trace = random_trace()
    trace.compressibility = made(9)
    write_recording(tmp_path / "a.pghot", trace)
    convert(tmp_path / "a.pghot", tmp_path / "b.parquet")
    table = pq.read_table(tmp_path / "b.parquet")
    metadata = {**pq.read_metadata(tmp_path / "b.parquet").metadata}
    metadata[b"pghot.samples"] = metadata[b"pghot.samples"].replace(b"rounds", b"roundz")
    metadata.pop(b"ARROW:schema")
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "c.parquet")
    with pytest.raises(PghotError, match="damaged metadata"):
        convert(tmp_path / "c.parquet", tmp_path / "d.pghot")


def test_too_many_samples_at_once_are_refused(tmp_path: Path) -> None:
    many = made(1)
    many = replace(
        many,
        page=np.zeros(MAX_SAMPLES + 1, np.uint32),
        time_ns=np.zeros(MAX_SAMPLES + 1, np.uint64),
        flags=np.zeros(MAX_SAMPLES + 1, np.uint8),
        stored=np.ones((len(CODINGS), MAX_SAMPLES + 1), np.uint16),
    )
    writer = RecordingWriter(tmp_path / "it.pghot", INFO)
    writer.append(random_batch(), REGIONS)
    writer.add_samples(many)
    with pytest.raises(PghotError, match="too many"):
        writer.flush()


# ---- contents


def test_pages_are_measured_as_the_codecs_say() -> None:
    random = np.random.default_rng(1)
    noise = random.integers(0, 256, 4096).astype(np.uint8)
    half = np.concatenate([noise[:2048], np.zeros(2048, np.uint8)])
    word = np.tile(np.arange(8, dtype=np.uint8), 512)
    pages = np.stack([np.zeros(4096, np.uint8), word, noise, half, noise, word])
    found = measure(np.arange(6, dtype=np.uint32), 7, pages)
    assert found.flags.tolist() == [ZERO, SAME_FILLED, DUPLICATE, 0, DUPLICATE, SAME_FILLED]
    assert found.stored_bytes("lz4").tolist()[2] == 4096  # noise does not shrink
    for coding, stored in zip(found.codings, found.stored, strict=True):
        codec = pa.Codec("lz4_raw") if coding.algorithm == "lz4" else pa.Codec("zstd", 1)
        size = coding.block_bytes
        for page, bytes_ in zip(pages, stored.tolist(), strict=True):
            blocks = [page[at : at + size].tobytes() for at in range(0, 4096, size)]
            assert bytes_ == sum(min(size, len(codec.compress(block))) for block in blocks)


def test_an_unknown_coding_names_those_that_were_measured() -> None:
    with pytest.raises(UsageError, match="no sizes for lz4 64 B") as error:
        made(3).stored_bytes("lz4", 64)
    assert "zstd 1024 B" in error.value.hint


def test_no_pages_make_no_samples() -> None:
    assert len(measure(np.empty(0, np.uint32), 0, np.empty((0, 4096), np.uint8))) == 0
    assert describe(empty()) is None
    assert describe(None) is None
    assert lines(None) == []


def test_the_figures_of_known_samples() -> None:
    these = replace(made(4), stored=np.tile(np.array([1024, 2048, 4096, 4096], np.uint16), (len(CODINGS), 1)))
    facts = describe(replace(these, flags=np.array([ZERO, SAME_FILLED, DUPLICATE, 0], np.uint8)))
    assert facts is not None
    assert (facts["zero_share"], facts["same_filled_share"], facts["duplicate_share"]) == (0.25, 0.25, 0.25)
    first = facts["codings"][0]
    assert first["ratio"] == pytest.approx(4096 / 2816)
    assert first["percentiles"]["p50"] == pytest.approx(1.5)
    assert first["incompressible_share"] == 0.5
    assert [first["histogram"][bucket] for bucket in (4, 8, 15)] == [1, 1, 2]
    assert "lz4 4096 B" in "\n".join(lines(facts))


# ---- who is sampled, and when


def test_a_round_draws_each_page_as_often() -> None:
    sampler = PageSampler(seed=1, pages=32)
    counts = np.zeros(128, np.int64)
    for _ in range(2000):
        drawn = sampler.draw(128)
        assert len(np.unique(drawn)) == 32
        counts[drawn] += 1
    assert counts.sum() == 64000
    assert abs(counts - 500).max() < 120  # six standard deviations of a binomial with 2000 draws of 1/4


def test_few_pages_are_all_drawn() -> None:
    assert PageSampler().draw(5).tolist() == [0, 1, 2, 3, 4]
    assert PageSampler().draw(0).tolist() == []


def test_rounds_get_rare_so_that_a_year_fits_one_message() -> None:
    sampler, taken, now = PageSampler(), 0, 0.0
    while now < 365 * 86400:
        now += max(0.05, now / 1000)
        taken += sampler.due(now)
    assert 128 < taken * PAGES_IN_A_ROUND < MAX_SAMPLES


def test_a_short_program_is_sampled_soon() -> None:
    sampler = PageSampler()
    times = [now / 100 for now in range(1, 1000) if sampler.due(now / 100)]
    assert times == [0.25, 0.5, 1.0, 2.0, 4.0, 6.0, 8.0]


# ---- drawing sizes for all pages


@settings(deadline=None)
@given(samples(at_least=1), st.integers(0, 3))
def test_sampled_pages_keep_their_latest_value_and_others_draw(these: Compressibility, seed: int) -> None:
    choice = drawn_samples(these, REGIONS, 1536, seed)
    np.testing.assert_array_equal(choice, drawn_samples(these, REGIONS, 1536, seed))
    assert ((choice >= 0) & (choice < len(these))).all()
    latest = {int(page): at for at, page in enumerate(these.page)}
    for page, at in latest.items():
        assert choice[page] == at
    for region in REGIONS:
        inside = (these.page >= region.first_page) & (these.page < region.first_page + region.pages)
        if inside.sum() >= ENOUGH_SAMPLES:
            span = choice[region.first_page : region.first_page + region.pages]
            assert inside[span].all()


def test_regions_draw_their_own_distribution() -> None:
    page = np.concatenate([np.arange(100), np.arange(512, 612)]).astype(np.uint32)
    stored = np.repeat(np.array([[100, 4000]] * len(CODINGS), np.uint16), 100, axis=1)
    trace = random_trace()
    trace.compressibility = Compressibility(page, np.zeros(200, np.uint64), np.zeros(200, np.uint8), stored)
    sizes = compressed_bytes_per_page(trace, "zstd", 1024, seed=5)
    assert sizes.stored.dtype == np.uint16
    assert (sizes.stored[:512] == 100).all()
    assert (sizes.stored[512:812] == 4000).all()
    assert set(sizes.stored[1024:].tolist()) == {100, 4000}  # the stack has no samples: it draws from all
    assert (sizes.sampled, sizes.assumed) == (200, False)
    assert (sizes.stored[1024:] != compressed_bytes_per_page(trace, "zstd", 1024, seed=6).stored[1024:]).any()


def test_zero_pages_come_with_their_size() -> None:
    trace = random_trace()
    these = made(1536)
    trace.compressibility = replace(these, flags=np.where(these.page % 3 == 0, ZERO, 0).astype(np.uint8))
    assert compressed_bytes_per_page(trace).zero.tolist() == [page % 3 == 0 for page in range(1536)]


def test_without_samples_the_published_distribution_stands_in_and_says_so(tmp_path: Path) -> None:
    write_recording(tmp_path / "old.pghot", random_trace())
    recording = open_recording(tmp_path / "old.pghot")
    assert recording.compressibility is None
    sizes = compressed_bytes_per_page(recording, seed=3)
    assert sizes.assumed
    assert FAR_MEMORY.source in sizes.note
    assert len(sizes.stored) == recording.pages


def test_the_published_distribution_has_its_stated_quantiles() -> None:
    sizes = published_bytes(200_000, seed=1)
    whole = sizes == 4096
    assert whole.mean() == pytest.approx(0.31, abs=0.005)
    ratios = 4096 / sizes[~whole]
    assert np.median(ratios) == pytest.approx(3.0, abs=0.03)
    assert ratios.min() >= 2.0 - 1e-3
    assert ratios.max() <= 6.0 + 1e-2


def test_folios_add_up_their_pages() -> None:
    trace = random_trace()
    trace.compressibility = made(1536)
    folios = coarsen(trace, 2 << 20)
    small, large = compressed_bytes_per_page(trace), compressed_bytes_per_page(folios)
    assert large.stored.dtype == np.uint32
    assert large.stored.sum() == small.stored.sum()
    assert len(large.stored) == folios.pages
    assert large.stored.max() > 4096


def test_folios_without_samples_are_assumed_too() -> None:
    folios = coarsen(random_trace(), 2 << 20)
    assert compressed_bytes_per_page(folios).assumed


# ---- samples of another run


def test_samples_move_to_the_same_place_of_the_same_mapping() -> None:
    theirs = [
        Region(0, 10, 0, 0x1000, "[heap]"),
        Region(10, 4, 0, 0x90000, "lib"),
        Region(14, 10, 1, 0x1000, "[heap]"),
    ]
    ours = [
        Region(100, 5, 0, 0x6000, "[heap]"),  # the second half of the heap was touched first
        Region(200, 5, 0, 0x1000, "[heap]"),
        Region(300, 8, 0, 0x90000, "lib"),
    ]
    these = replace(made(24), page=np.arange(24, dtype=np.uint32))
    moved = transplanted(these, theirs, ours, "another run")
    heap = [200, 201, 202, 203, 204, 100, 101, 102, 103, 104]
    assert moved.page.tolist() == [*heap, 300, 302, 304, 306]  # twice as large; the child has no counterpart
    assert moved.stored.tolist() == these.stored[:, :14].tolist()
    assert moved.origin == "another run"


@given(samples())
def test_the_same_regions_keep_every_sample(these: Compressibility) -> None:
    inside = np.isin(
        these.page, np.concatenate([np.arange(r.first_page, r.first_page + r.pages) for r in REGIONS])
    )
    moved = transplanted(these, REGIONS, REGIONS, "")
    assert moved.page.tolist() == these.page[inside].tolist()
    assert moved.stored.tolist() == these.stored[:, inside].tolist()


@pytest.mark.parametrize("name", bundled.names())
def test_every_bundled_recording_has_samples_on_its_own_pages(name: str) -> None:
    recording = bundled.open_bundled(name)
    sizes = compressed_bytes_per_page(recording, "zstd")
    assert not sizes.assumed
    assert sizes.sampled > 1000
    assert "another run of the same command" in sizes.note
    samples = recording.compressibility
    assert samples is not None
    touched = np.zeros(recording.pages, np.bool_)
    for batch in recording.batches():
        touched[batch.page] = True
    assert touched[samples.page].mean() > 0.9  # programs lay out their memory as they did before


# ---- reading the memory of another process

_HOLDER = """
import ctypes, mmap, sys
memory = mmap.mmap(-1, 8 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(4):
    memory[page * 4096 : (page + 1) * 4096] = bytes([page + 1]) * 4096
memory.madvise(mmap.MADV_DONTNEED, 4096, 4096)
print(ctypes.addressof(ctypes.c_char.from_buffer(memory)), flush=True)
sys.stdin.read()
"""


def test_only_pages_that_hold_memory_are_read() -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", _HOLDER], text=True, **pipes) as child:  # type: ignore[call-overload]
        start = int(child.stdout.readline())
        address = start + 4096 * np.arange(8, dtype=np.uint64)
        address = np.append(address.astype(np.uint64), np.uint64(1 << 44))
        places, contents = read_pages(SysRoot(), child.pid, address)
        child.stdin.close()
    assert places.tolist() == [0, 2, 3]  # given back, never touched, unmapped: left out
    assert contents[:, 0].tolist() == [1, 3, 4]
    assert read_pages(SysRoot(), child.pid, address)[1].shape == (0, 4096)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_a_strangers_memory_is_refused_with_the_capability() -> None:
    script = (
        "import os, numpy as np\n"
        "from pghot.kernel.process_memory import read_pages\n"
        "from pghot.kernel.sysroot import SysRoot\n"
        "from pghot.errors import NotPermittedError\n"
        "parent = os.getppid()\n"
        "os.setuid(65534)\n"
        "try:\n"
        "    read_pages(SysRoot(), parent, np.zeros(1, np.uint64))\n"
        "except NotPermittedError as error:\n"
        "    print(error.exit_code, error, error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("4 not permitted to read the memory of process")
    assert "CAP_SYS_PTRACE" in done.stdout
