"""Workloads: every kind is a well-formed trace, the same every time, with the statistics that its file asks
for."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from pghot.errors import UsageError
from pghot.lab.workloads.masim import parse_masim
from pghot.lab.workloads.workload_files import make_workload, workload_names
from pghot.recording.trace import SliceBatch, Trace

SMALL = {"slices": 40, "accesses_per_slice": 5000}


def whole(trace: Trace) -> list[SliceBatch]:
    return list(trace.batches())


def touches_of(trace: Trace, first: int = 0, last: int | None = None) -> np.ndarray:
    """Touches of each page in slices first..last-1."""
    total = np.zeros(trace.pages, np.int64)
    number = 0
    for batch in trace.batches():
        for i in range(batch.slices):
            if first <= number and (last is None or number < last):
                part = slice(batch.offsets[i], batch.offsets[i + 1])
                np.add.at(total, batch.page[part], batch.touches[part])
            number += 1
    return total


MASIM = """# two regions, a hot one and a file
hot, 40960
cold, 409600, none

first
2000
# region, random, stride, probability
hot, 1, 64, 9, wo
cold, 0, 4096, 1, ro

second
1000
cold, 1, 64, 1, rw
"""


@pytest.fixture
def masim_file(tmp_path):
    path = tmp_path / "two.cfg"
    path.write_text(MASIM)
    return path


def every_kind(masim_file):
    for name in workload_names():
        for nodes in (1, 2):
            yield make_workload(f"workload:{name}", seed=3, nodes=nodes, partition="30%", **SMALL)
    yield make_workload(f"masim:{masim_file}", accesses_per_slice=3000)


def test_every_workload_is_a_well_formed_trace(masim_file):
    for trace in every_kind(masim_file):
        virtual_ns = 0
        for batch in trace.batches():
            assert batch.offsets[0] == 0
            assert batch.offsets[-1] == batch.rows
            for column in ("page", "touches", "misses", "sequential", "writes"):
                assert getattr(batch, column).dtype == np.uint32
                assert len(getattr(batch, column)) == batch.rows
            assert batch.page.max() < trace.pages
            assert batch.touches.min() > 0
            assert (batch.misses <= batch.touches).all()
            assert (batch.sequential <= batch.misses).all()
            assert (batch.writes <= batch.touches).all()
            assert batch.node.min() >= 0
            assert batch.node.max() < trace.info.nodes
            for i in range(batch.slices):
                part = slice(batch.offsets[i], batch.offsets[i + 1])
                key = batch.page[part].astype(np.int64) * 64 + batch.node[part]
                assert (np.diff(key) > 0).all()
            assert batch.start_ns[0] >= virtual_ns
            assert (np.diff(batch.start_ns.astype(np.int64)) > 0).all()
            virtual_ns = int(batch.start_ns[-1])
        covered = sorted((region.first_page, region.pages) for region in trace.regions)
        assert sum(pages for _, pages in covered) == trace.pages


def test_every_workload_repeats_itself_and_follows_its_seed(masim_file):
    for trace in every_kind(masim_file):
        for one, two in zip(whole(trace), whole(trace), strict=True):
            for column in fields(SliceBatch):
                np.testing.assert_array_equal(getattr(one, column.name), getattr(two, column.name))
    one, two = (touches_of(make_workload("gups", seed, **SMALL)) for seed in (1, 2))
    assert (one != two).any()


def test_gups_sends_its_traffic_to_the_hot_set():
    trace = make_workload("gups", footprint="4 MiB", hot_share=0.25, hot_traffic=0.8, init="none", **SMALL)
    touches = np.sort(touches_of(trace))[::-1]
    assert len(touches) == 1024
    assert touches[:256].sum() / touches.sum() == pytest.approx(0.8, abs=0.01)
    assert touches.sum() == pytest.approx(40 * 5000, rel=0.02)


def test_gups_writes_are_the_share_asked_for():
    trace = make_workload("gups", footprint="4 MiB", write_share=0.3, init="none", **SMALL)
    batches = whole(trace)
    writes, touches = sum(b.writes.sum() for b in batches), sum(b.touches.sum() for b in batches)
    assert writes / touches == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("scatter", [True, False])
def test_gups_hot_set_moves_when_it_should(scatter):
    trace = make_workload(
        "gups", footprint="4 MiB", hot_share=0.1, init="none", moves_at=[0.5], scatter=scatter, **SMALL
    )
    before = np.argsort(touches_of(trace, 0, 20))[-102:]
    still = np.argsort(touches_of(trace, 10, 20))[-102:]
    after = np.argsort(touches_of(trace, 20, 40))[-102:]
    assert set(before) == set(still)
    assert not set(before) & set(after)


def test_zipf_frequencies_follow_the_ranks():
    trace = make_workload(
        "zipf", footprint="4 MiB", alpha=1.2, init="none", slices=40, accesses_per_slice=50_000
    )
    share = np.sort(touches_of(trace))[::-1] / (40 * 50_000)
    expected = np.arange(1, 1025) ** -1.2
    expected /= expected.sum()
    np.testing.assert_allclose(share[:20], expected[:20], rtol=0.05)


@pytest.mark.parametrize("init", ["sequential", "random", "hot-first", "hot-last"])
def test_initialisation_touches_every_page_once_in_the_order_asked_for(init):
    trace = make_workload("zipf", footprint="4 MiB", init=init, slices=50, accesses_per_slice=50_000)
    assert (touches_of(trace, 0, 64) == 1).all()
    run = touches_of(trace, 64)
    early, late = (set(np.flatnonzero(touches_of(trace, *span))) for span in ((0, 32), (32, 64)))
    heat_early, heat_late = run[list(early)].sum(), run[list(late)].sum()
    if init == "sequential":
        assert max(early) < min(late)
    elif init == "random":
        assert max(early) > min(late)
        assert 0.2 < heat_early / (heat_early + heat_late) < 0.8
    else:
        assert (heat_early > 4 * heat_late) if init == "hot-first" else (heat_late > 4 * heat_early)


def test_partition_makes_pages_private_to_a_node_and_shares_the_rest():
    trace = make_workload("uniform", footprint="4 MiB", nodes=2, partition="50%", init="none", **SMALL)
    by_node = np.zeros((2, trace.pages), np.int64)
    for batch in trace.batches():
        np.add.at(by_node, (batch.node, batch.page), batch.touches)
    assert (by_node[1, :256] == 0).all()
    assert (by_node[0, 256:512] == 0).all()
    assert by_node[0, 512:].sum() / by_node[:, 512:].sum() == pytest.approx(0.5, abs=0.02)
    assert (
        by_node.sum() == touches_of(make_workload("uniform", footprint="4 MiB", init="none", **SMALL)).sum()
    )


def test_mixture_keeps_tenants_apart_and_weighs_them():
    trace = make_workload("mixture", init="none", **SMALL)
    assert [(r.name, r.space) for r in trace.regions] == [("store", 0), ("scan", 1), ("batch", 2)]
    touches = touches_of(trace)
    parts = [touches[r.first_page : r.first_page + r.pages].sum() for r in trace.regions]
    np.testing.assert_allclose(np.array(parts) / touches.sum(), [0.6, 0.3, 0.1], atol=0.01)


def test_phases_take_turns_and_start_again(tmp_path):
    file = tmp_path / "two.toml"
    file.write_text(
        'kind = "phases"\ninit = "none"\naccesses_per_slice = 4000\nslices = 12\n'
        '[[phase]]\nslices = 3\npattern = { kind = "uniform", footprint = "1 MiB" }\n'
        '[[phase]]\nslices = 2\npattern = { kind = "sequential", footprint = "2 MiB" }\n'
    )
    trace = make_workload(file)
    misses = [
        int(batch.sequential[batch.offsets[i] : batch.offsets[i + 1]].sum())
        for batch in trace.batches()
        for i in range(batch.slices)
    ]
    assert [count > 0 for count in misses] == [False, False, False, True, True] * 2 + [False, False]
    assert trace.pages == 512


def test_pages_may_be_two_mebibytes():
    trace = make_workload("gups", page_bytes="2 MiB", footprint="64 MiB", **SMALL)
    assert (trace.pages, trace.info.page_bytes) == (32, 2 << 20)
    assert whole(trace)[0].rows > 0


def test_masim_file_becomes_regions_phases_and_probabilities(masim_file):
    trace = make_workload(f"masim:{masim_file}", init="none", accesses_per_slice=10_000)
    assert [(r.name, r.first_page, r.pages) for r in trace.regions] == [("hot", 0, 10), ("cold", 10, 100)]
    assert trace.info.name == "masim:two.cfg"
    first, second = touches_of(trace, 0, 100), touches_of(trace, 100)
    assert first[:10].sum() / first.sum() == pytest.approx(0.9, abs=0.01)
    assert second[:10].sum() == 0
    assert second[10:].sum() == pytest.approx(50 * 10_000, rel=0.02)
    writes = [batch.writes.sum() / batch.touches.sum() for batch in trace.batches()]
    assert 0.5 < writes[0] <= 0.9


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "a paragraph of regions"),
        ("a, 10\n", "a paragraph of regions"),
        ("a, ten\n\np\n5\na, 1, 64, 1\n", "'ten' is not a whole number"),
        ("a, 10\n\np\n5\n", "at least one access pattern"),
        ("a, 10\n\np\nsoon\na, 1, 64, 1\n", "m:4: 'soon' is not a whole number"),
        ("a, 10\n\np\n5\nb, 1, 64, 1\n", "no region is named 'b'"),
        ("a, 10\n\np\n5\na, 1, 64\n", "m:5: expected"),
        ("a, 10\n\np\n5\na, 1, 64, 1, xx\n", "'xx' is not an access mode"),
        ("a, 10\n\np\n5\na, 1, 64, 0\n", "m:3: all probabilities of the phase 'p' are 0"),
    ],
)
def test_masim_errors_name_the_line(text, complaint):
    with pytest.raises(UsageError, match=complaint):
        parse_masim(text, "m")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('kind = "gups"\nhot = 3\n', r"bad.toml:2: hot: unknown key"),
        ('kind = "gups"\nfootprint = "-3 MiB"\n', r"bad.toml:2: footprint: .*not a size"),
        ('kind = "gups"\nfootprint = 0\n', r"bad.toml:2: footprint"),
        ('kind = "gups"\nhot_share = "120%"\n', r"bad.toml:2: hot_share: .*not a share"),
        ('kind = "gups"\nslices = -1\n', r"bad.toml:2: slices"),
        ('kind = "gups"\nthreads = "many"\n', r"bad.toml:2: threads"),
        ('kind = "gupz"\n', r"unknown workload kind 'gupz'"),
        ("footprint = 3\n", r"no workload kind named"),
        ("kind = \n", r"bad.toml: not valid TOML"),
        ('kind = "phases"\nphase = []\n', r"bad.toml:2: phase"),
        (
            'kind = "mixture"\n[[tenant]]\nname = "a"\npattern = { kind = "zipf", beta = 1 }\n',
            r"beta: unknown key",
        ),
    ],
)
def test_workload_file_errors_name_the_key_and_its_line(tmp_path, text, complaint):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=complaint) as caught:
        make_workload(f"workload:{file}")
    assert caught.value.hint


def test_unknown_workload_suggests_the_nearest():
    with pytest.raises(UsageError) as caught:
        make_workload("workload:gup")
    assert "'gups'" in caught.value.hint


def test_more_pages_than_can_be_simulated_are_refused(tmp_path):
    with pytest.raises(UsageError, match="more than") as caught:
        make_workload("gups", footprint="100 TiB")
    assert "page_bytes" in caught.value.hint
    assert make_workload("sequential", footprint="1 TiB", page_bytes="2 MiB").pages == 1 << 19


def test_overrides_are_checked_like_the_file(masim_file):
    masim = f"masim:{masim_file}"
    wrong = (("gups", "hot_shar", 1), ("gups", "page_bytes", 100), (masim, "slice_ms", "x"))
    for spec, key, value in wrong:
        with pytest.raises(UsageError, match=key):
            make_workload(spec, **{key: value})


def test_missing_files_are_usage_errors(tmp_path):
    for spec in (f"workload:{tmp_path}/no.toml", f"masim:{tmp_path}/no.cfg", f"masim:{tmp_path}"):
        with pytest.raises(UsageError, match="cannot read"):
            make_workload(spec)


def test_every_workload_can_be_written_as_a_recording(tmp_path, masim_file):
    from pghot.recording.reader import open_recording
    from pghot.recording.writer import write_recording

    for number, trace in enumerate(every_kind(masim_file)):
        path = tmp_path / f"{number}.pghot"
        write_recording(path, trace)
        back = open_recording(path)
        assert back.regions == trace.regions
        assert back.info.mlp == trace.info.mlp
        np.testing.assert_array_equal(touches_of(back), touches_of(trace))
