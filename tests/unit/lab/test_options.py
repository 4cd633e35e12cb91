"""Options of runs: told apart in labels, taken by `--set` for sources too, refused when they cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pghot
from builders.said import said
from pghot.cli.main import run
from pghot.errors import UsageError
from pghot.lab.bench import all_counters
from pghot.lab.compare import compare
from pghot.lab.run_spec import RunSpec, labels
from pghot.lab.workloads.workload_files import make_workload
from pghot.policies import LIVE_POLICIES
from pghot.policies.hemem import SAMPLE_PERIOD
from pghot.policies.options import parse_options
from pghot.report.comparison_page import render as page
from pghot.report.comparison_text import render
from pghot.sim.policies import POLICIES
from pghot.sim.sources import SOURCES
from pghot.sim.sources.simulated_source import SourceSettings

SETTINGS = SourceSettings(pages=64, page_bytes=4096, nodes=2)


def gups() -> Any:
    return make_workload("gups", 0, footprint="8 MiB", slices=100, accesses_per_slice=20_000, init="random")


# ---- counters


def test_sources_add_up_and_what_a_policy_heard_of_them_is_counted_once() -> None:
    policy = {"numa_hint_faults": 7, "pgpromote_candidate": 2}
    sources = [
        {"numa_hint_faults": 7, "numa_pte_updates": 9},
        {"hwhint_total_events": 3, "hwhint_dropped_events": 1},
        {"hwhint_total_events": 20},
    ]
    assert all_counters(policy, sources) == {
        "numa_hint_faults": 7, "pgpromote_candidate": 2, "numa_pte_updates": 9, "hwhint_total_events": 23,
        "hwhint_dropped_events": 1,
    }  # fmt: skip


def test_two_hardware_sources_report_the_events_of_both() -> None:
    def events(*sources: str) -> int:
        spec = RunSpec(
            "pghot-default", sources, {"rate_limit_mb_s": 0.0}, {each: {"sample_ns": 0.0} for each in sources}
        )
        rows = pghot.compare(
            gups(), policies=[spec], times=50.0, threads=1, duration_s=None, seeds=1
        ).runs.to_pylist()
        return int(dict(rows[-1]["counters"])["hwhint_total_events"])

    assert events("ibs", "pebs") == events("ibs") + events("pebs")


# ---- labels


def test_labels_carry_what_tells_runs_apart() -> None:
    pebs = ("pebs",)
    specs = [
        RunSpec("none"),
        RunSpec("hemem", pebs),
        RunSpec("hemem", pebs, {}, {"pebs": {"period_misses": 499}}),
        RunSpec("pghot-default", pebs, {"freq_threshold": 1, "window_ms": 900}),
        RunSpec("pghot-default", pebs, {"freq_threshold": 1, "window_ms": 800}),
        RunSpec("numab2", ("hintfaults",), {"rate_limit_mb_s": 1}),
        RunSpec("static-class", (), {"fast": 1}),
        RunSpec("static-class", (), {"fast": "1"}),
        RunSpec("static-class", (), {"fast": type("One", (), {"__str__": lambda self: "1"})()}),
    ]
    assert labels(specs) == [
        "none",
        "hemem/pebs",
        "hemem/pebs pebs.period_misses=499",
        "pghot-default/pebs window_ms=900",
        "pghot-default/pebs window_ms=800",
        "numab2/hintfaults",
        "static-class",
        "static-class #2",
        "static-class #3",
    ]


def test_runs_that_differ_in_options_only_have_rows_of_their_own() -> None:
    off = RunSpec("numab2", ("hintfaults",), {"rate_limit_mb_s": 0.0})
    on = RunSpec("numab2", ("hintfaults",))
    told = RunSpec("none", ("truth",))  # another run of the baseline's policy is not the baseline
    result = pghot.compare(
        gups(), policies=[off, on, told, on], times=50.0, threads=1, duration_s=None, seeds=1
    )
    rows = {row["label"]: row for row in result.summary.to_pylist()}
    assert list(rows) == [
        "none", "all-fast", "numab2/hintfaults rate_limit_mb_s=0.0", "numab2/hintfaults", "none/truth",
    ]  # fmt: skip
    assert [row["seeds"] for row in rows.values()] == [1] * 5
    assert [row["options"] for row in rows.values()] == [[], [], ["rate_limit_mb_s=0.0"], [], []]
    alone = pghot.compare(
        gups(), policies=[on], times=50.0, threads=1, duration_s=None, seeds=1
    ).summary.to_pylist()[-1]
    assert rows["numab2/hintfaults"] == alone
    assert rows["none"]["speedup"] == 1.0
    assert set(result.timeline["label"].to_pylist()) == set(rows)
    assert "numab2/hintfaults rate_limit_mb_s=0.0: rate_limit_mb_s=0.0" in render(result, [])
    assert "numab2/hintfaults rate_limit_mb_s=0.0" in page(result, ["pghot"])


# ---- --set


@pytest.mark.heavy
def test_set_reaches_a_source_and_the_row_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    compare = ["compare", "bundled:redis-zipf", "--policies", "hemem", "--seeds", "1", "--duration", "5s"]

    def events(*more: str) -> tuple[int, list[str]]:
        assert run([*compare, "--json", *more]) == 0
        row = json.loads(capsys.readouterr().out)["runs"][-1]
        return dict(row["counters"])["hwhint_total_events"], row["options"]

    rare, often = events(), events("--set", "pebs.period_misses=499")
    assert (rare[1], often[1]) == ([], ["pebs.period_misses=499"])
    own = SAMPLE_PERIOD  # of HeMem, not of the source
    assert often[0] == pytest.approx(rare[0] * own / 499, rel=0.1)
    assert run([*compare, "--set", "pebs.period_misses=499"]) == 0
    assert "hemem: pebs.period_misses=499" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pebs.period_misses=0", "pebs.period_misses is 0, which is less than it can be"),
        ("pebs.period_misses=1.5", "is not a whole number"),
        ("pebs.sample_ns=NaN", "pebs.sample_ns is nan, which is not a number up to 1e+15"),
        ("pebs.drain_ms=null", "is not a number"),
        ("pebs.period=3", "unknown option of 'pebs' 'period'"),
        ("abit.period_ms=5", "'abit' is not part of this run"),
        (
            "pebs.sample_ns=1" + "0" * 400,
            "pebs.sample_ns is 1000000000000000..., which is not a number up to 1e+15",
        ),
    ],
)
def test_values_of_sources_that_cannot_be_are_one_line(
    text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", "bundled:redis-zipf", "--policies", "hemem", "--set", text]) == 2
    lines = said(capsys.readouterr().err)
    assert [line.split(":")[0] for line in lines] == ["pghot", "hint"]
    assert message in lines[0]


NUMBERS = [
    (name, option)
    for name in SOURCES.names()
    for option, default in SOURCES.options(name).items()
    if not isinstance(default, bool)
]


@pytest.mark.parametrize(("name", "option"), NUMBERS)
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 10**400])
def test_every_parameter_of_every_source_is_checked(name: str, option: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name}.{option} is ") as caught:
        SOURCES.make(name, SETTINGS, **{option: value})
    assert caught.value.hint.startswith("give ")


@pytest.mark.parametrize("name", POLICIES.names())
def test_every_number_of_every_policy_is_checked(name: str) -> None:
    for option, default in POLICIES.options(name).items():
        if default is None or isinstance(default, int | float):
            with pytest.raises(UsageError, match=option):
                POLICIES.make(name, **{option: -1})


def test_the_target_node_and_a_rate_of_half_a_mebibyte_are_numbers() -> None:
    given = parse_options(
        ["pghot-default.target_nid=0", "pghot-default.rate_limit_mb_s=0.5"],
        ["pghot-default"],
        POLICIES.options,
    )
    assert given == {"pghot-default": {"target_nid": 0, "rate_limit_mb_s": 0.5}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 3.0}, "unknown option of 'numab2' 'rate'"),
        ({"rate_limit_mb_s": "x"}, "numab2.rate_limit_mb_s is 'x', which is not a number"),
        ({"rate_limit_mb_s": True}, "numab2.rate_limit_mb_s is True, which is not a number"),
        ({"rate_limit_mb_s": None}, "numab2.rate_limit_mb_s is None, which is not a number"),
        (
            {"rate_limit_mb_s": float("nan")},
            "numab2.rate_limit_mb_s is nan, which is not a number up to 1e+15",
        ),
    ],
)
def test_options_in_python_are_checked_as_those_of_the_command_line(options: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        pghot.compare(gups(), policies=[RunSpec("numab2", ("hintfaults",), options)])
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fastshare": 0.3}, "unknown option of 'compare' 'fastshare'"),
        ({"fast_share": [[]]}, "'[]' is not a share"),
        ({"mlp": "2"}, "compare.mlp is '2', which is not a number"),
        ({"seeds": 1.5}, "compare.seeds is 1.5, which is not a whole number"),
        ({"placement": 1}, "compare.placement is 1, which is not text"),
    ],
)
def test_settings_in_python_are_checked(settings: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        pghot.compare(gups(), policies=["none"], **settings)
    assert str(caught.value) == message


def test_one_word_is_no_list() -> None:
    for given in ({"policies": "none"}, {"sources": "pebs"}, {"access": "swap"}):
        (word,) = given.values()
        with pytest.raises(UsageError, match=f"is '{word}', which is one word and no list"):
            compare(gups(), **given)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="sources is 'pebs'") as caught:
        RunSpec("hemem", "pebs")  # type: ignore[arg-type]
    assert caught.value.hint == "give ['pebs']"


def test_numbers_of_numpy_and_sets_of_words_are_options_too() -> None:
    given = {
        "freq_threshold": np.int64(3),
        "rate_limit_mb_s": 7,
        "window_ms": None,
        "faithful": {"address-order"},
    }
    policy = POLICIES.make("pghot-default", **given)
    assert policy.options == {**given, "faithful": ("address-order",)}


@pytest.mark.parametrize("setting", ["table_share", "heap_share"])
def test_a_setting_that_only_another_store_heeds_is_refused(setting: str) -> None:
    for policy in ("pghot-default", "pghot-precise"):
        with pytest.raises(UsageError, match=f"the '{policy[6:]}' store has no {setting}") as caught:
            POLICIES.make(policy, **{setting: 0.5})
        assert caught.value.hint == "leave it out; it is a setting of the hashed store"
    POLICIES.make("pghot-hashed", **{setting: 0.5})


# ---- what only the lab can do


@pytest.mark.parametrize("name", ["pghot-default", "pghot-precise", "pghot-hashed", "hemem", "none"])
def test_policies_that_run_live(name: str) -> None:
    LIVE_POLICIES.make(name)


def test_the_others_are_refused_live() -> None:
    stores = {"pghot-default", "pghot-precise", "pghot-hashed"}
    live = {*stores, *(f"{name}-f1" for name in stores), "hemem", "none"}
    assert set(LIVE_POLICIES.names()) == live
    for name in set(POLICIES.names()) - live:
        with pytest.raises(UsageError, match=f"no policy '{name}' runs live") as caught:
            LIVE_POLICIES.make(name)
        assert caught.value.hint.endswith("these run live: " + ", ".join(LIVE_POLICIES.names()))


def test_options_that_only_the_lab_honours_are_refused_live() -> None:
    quirks = ("never-expire", "long-hash-lists")
    with pytest.raises(UsageError, match=r"only the lab can honour pghot-hashed\.faithful=long-hash-lists"):
        LIVE_POLICIES.make("pghot-hashed", faithful=quirks)
    with pytest.raises(UsageError, match=r"only the lab can honour pghot-precise\.batch_nr"):
        LIVE_POLICIES.make("pghot-precise", batch_nr=8)
    LIVE_POLICIES.make("pghot-hashed", faithful=quirks[:1], batch_nr=8)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: pghot.open(3), "path is 3, which is not a path"),
        (lambda: pghot.open(b"a.pghot"), "which is not a path"),
        (lambda: pghot.compare(3), "recording is 3, which is not a path, a name or a Trace"),
        (lambda: pghot.compare("workload:gups", 7.5), "tiers is 7.5, which is not a name, a path or a Topology"),
        (lambda: pghot.compare("workload:gups", policies=[None]), "a policy is None, which is not a name or a"),
    ],
)  # fmt: skip
def test_an_argument_of_the_wrong_kind_is_named(call: Callable[[], object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        call()
