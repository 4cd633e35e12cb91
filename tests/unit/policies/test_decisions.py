"""What policies say of their decisions: counted, in every result, and open for a log of pages."""

from __future__ import annotations

import numpy as np
import pytest

import pghot
from builders.accesses import trace_from_accesses
from builders.policy_bed import Bed
from pghot.errors import UsageError
from pghot.lab.compare import default_sources, plan_runs
from pghot.lab.run_spec import RunSpec
from pghot.live.live_settings import LiveSettings
from pghot.live.sources import LIVE_SOURCES
from pghot.live.targets import Targets
from pghot.policies.decisions import DecisionCounts, HeldBack, Moved
from pghot.policies.policy import Policy
from pghot.policies.runs_on import live_twin, places, policy_awaits, source_awaits
from pghot.sim.machine.topology import TOPOLOGIES, load_topology
from pghot.sim.policies import POLICIES
from pghot.sim.sources import SOURCES
from pghot.sim.sources.simulated_source import SourceSettings


def pages(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint32)


def test_pages_that_are_held_and_rounds_that_rest_are_counted_by_reason() -> None:
    decisions = DecisionCounts()
    decisions.hold(pages(1, 2), HeldBack.RATE)
    decisions.hold(pages(), HeldBack.GATE)
    for _ in range(3):
        decisions.rest(HeldBack.NEVER_PRESSED)
    decisions.move(pages(7), Moved.HOT)
    assert list(decisions.held_back().items()) == [("never pressed", 3), ("rate", 2)]


def test_where_a_run_takes_place_follows_from_what_is_declared() -> None:
    def where(policy: str, *sources: str) -> tuple[str, ...]:
        return places(POLICIES.get(policy), [SOURCES.get(name) for name in sources])

    for name in ("none", "demotion", "interleave", "all-fast"):
        assert where(name) == ("kernel",)
    assert where("numab2", "hintfaults") == ("kernel",)
    assert where("oracle-static") == where("oracle-epoch") == where("pghot-default", "truth") == ("nowhere",)
    for name in ("lru-bw", "hemem-colloid"):
        assert where(name) == ("to come",)
    for source in ("hintfaults", "abit", "pebs", "ibs"):
        assert where("pghot-default", source) == ("user space", "to come")
    assert where("pghot-default", "chmu") == where("pghot-default", "pebs", "chmu") == ("to come",)
    assert where("hemem", "pebs") == ("user space", "to come")


@pytest.mark.parametrize("name", SOURCES.names())
def test_a_source_of_user_space_has_a_live_twin_that_sees_as_it_does(name: str) -> None:
    source = SOURCES.get(name)
    if twin := live_twin(source):
        live = LIVE_SOURCES.get(twin)
        assert (live.mechanism, live.inline, live.released) == (source.mechanism, source.inline, True)
        options = getattr(source, "live_options", {})
        assert set(options) <= set(SOURCES.options(name))
        assert SOURCES.make(name, SourceSettings(1, 4096, 2), **options).sees == live.sees
    assert bool(source_awaits(source)) == (not source.released and not source.clairvoyant)


def test_classes_are_chosen_by_name_and_baselines_and_yardsticks_stay() -> None:
    def labels(*classes: str) -> list[str]:
        specs = plan_runs(["numab2", "pghot-default", "lru-bw", "oracle-static"], ["pebs", "chmu"], classes)
        return [spec.label for spec in specs]

    base = ["none", "all-fast"]
    assert labels() == [
        *base, "numab2/hintfaults", "pghot-default/pebs", "pghot-default/chmu", "lru-bw", "oracle-static",
    ]  # fmt: skip
    assert labels("kernel") == [*base, "numab2/hintfaults", "oracle-static"]
    assert labels("user-space") == [*base, "pghot-default/pebs [user space]", "oracle-static"]
    assert labels("user space", "to-come") == [
        *base,
        "pghot-default/pebs [user space]",
        "pghot-default/pebs [to come]",
        "pghot-default/chmu",
        "lru-bw",
        "oracle-static",
    ]
    with pytest.raises(UsageError, match="unknown class of runs 'userspace'"):
        labels("userspace")


def test_a_policy_that_does_not_say_what_it_awaits_is_not_taken_for_the_kernels() -> None:
    class Theirs:
        kind = "mover"
        runs_live = False

    theirs: type[Policy] = Theirs  # type: ignore[assignment, type-arg]
    assert policy_awaits(theirs) == "a kernel patch"
    assert places(theirs, []) == ("to come",)


def test_every_result_says_where_a_run_takes_place_and_why_it_stood_still() -> None:
    """lru-bw sees a machine without load: in each of its periods nothing presses."""
    result = pghot.compare(
        trace_from_accesses(np.arange(40_000, dtype=np.uint32) % 200, accesses_per_slice=400),
        policies=["lru-bw"],
        seeds=2,
        times=20.0,
        duration_s=None,
        options=["lru-bw.slow_above=1e9", "lru-bw.period_ms=1"],
    )
    row = next(row for row in result.rows if row.policy == "lru-bw")
    assert row.runs_on == "to come"
    assert set(row.held_back) == {"never pressed"}
    told = {each["label"]: each["stood_still"] for each in result.to_dict()["summary"]}
    assert told == {"none": None, "all-fast": None, "lru-bw": "never pressed"}
    runs = [run for run in result.to_dict()["runs"] if run["policy"] == "lru-bw"]
    assert sum(dict(run["held_back"])["never pressed"] for run in runs) == row.held_back["never pressed"]
    assert {row["label"]: row["runs_on"] for row in result.to_dict()["summary"]}["none"] == "kernel"


@pytest.mark.parametrize("store", ["default", "precise", "hashed"])
def test_pghot_is_there_as_its_benchmarks_ran_it(store: str) -> None:
    assert POLICIES.options(f"pghot-{store}-f1") == {
        **POLICIES.options(f"pghot-{store}"),
        "freq_threshold": 1,
    }
    assert POLICIES.options(f"pghot-{store}")["freq_threshold"] == 2
    seen = pages(500)
    for name, hot in ((f"pghot-{store}", 0), (f"pghot-{store}-f1", 1)):
        bed = Bed(name, room=5)
        bed.see(50, *seen.tolist())
        bed.act(100)
        assert np.count_nonzero(bed.machine.place[seen] == 0) == hot


def test_the_default_sources_are_what_the_cpus_have() -> None:
    tiers = {name: load_topology(name) for name in ("dram-cxl", "two-socket-cxl")}
    assert default_sources(tiers["dram-cxl"]) == ("hintfaults", "abit", "pebs")
    assert default_sources(tiers["two-socket-cxl"]) == ("hintfaults", "abit", "ibs"), "EPYC"
    unnamed = tiers["two-socket-cxl"].model_copy(update={"cpu_vendor": None})
    assert default_sources(unnamed) == ("hintfaults", "abit", "pebs")
    for file in TOPOLOGIES.names():
        assert load_topology(file).cpu_vendor, f"{file} says whose CPUs its llc is of"


def test_hemem_samples_at_its_own_rate_and_others_at_the_sources() -> None:
    trace = trace_from_accesses(np.arange(4_000, dtype=np.uint32) % 200, accesses_per_slice=400)
    specs = [
        RunSpec("hemem", ("pebs",)),
        RunSpec("hemem-colloid", ("pebs",)),
        RunSpec("pghot-default", ("pebs",)),
    ]
    small = {"seeds": 1, "times": 1.0, "duration_s": None}

    def sampling(*options: str) -> dict[str, tuple[str, ...]]:
        rows = pghot.compare(trace, policies=specs, options=options, **small).rows
        return {row.policy: row.sampling for row in rows if row.sources}

    assert sampling() == {
        "hemem": ("1 of 5003 cache misses",),
        "hemem-colloid": ("1 of 5003 cache misses",),
        "pghot-default": ("1 of 10007 cache misses",),
    }
    assert set(sampling("pebs.period_misses=499").values()) == {("1 of 499 cache misses",)}


def test_hemem_samples_at_its_own_rate_live_too() -> None:
    def options(policy: str, **given: int) -> dict[str, int]:
        told = {"pebs": given} if given else {}
        return LiveSettings(Targets(), ("pebs",), told, policy).options_of("pebs")

    assert options("hemem") == {"period_loads": 5003}
    assert options("hemem", period_loads=499) == {"period_loads": 499}
    assert options("pghot-default") == options("none") == {}
    assert LiveSettings(Targets(), ("ibs",), {}, "hemem").options_of("ibs") == {}, (
        "its period is of another kind"
    )


def test_a_source_that_is_named_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="--sources ibs\\+pebs\\+ibs names a source twice"):
        plan_runs(["pghot-default"], ["ibs+pebs+ibs"])
