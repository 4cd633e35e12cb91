"""Several tiers for one program: the same program on all, the cheapest and the front by hand, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.csv as csv
import pytest

from builders.replicated import replicated, zipf_heat
from pghot.cli.main import run
from pghot.lab.setting import Setting
from pghot.lab.size import size
from pghot.lab.size_tiers import size_tiers
from pghot.lab.sizes import Point, Size, Sizes, cheapest, front
from pghot.recording.writer import write_recording
from pghot.sim.machine.price import Price
from pghot.sim.machine.topology import Topology

TRACE = replicated(zipf_heat(256), 1, slices=20, misses=20_000)
SETTING = Setting(duration_s=None, seeds=2)
PRICE = Price.model_validate(
    {"currency": "USD", "source": "an offer", "date": "2026-11-03", "per_gib": {"dram": 10, "cxl": 4}}
)
GIB = 1 << 30


def machine(
    latency: float = 100, cxl_ns: float = 271, cpus: int = 8, llc: int = 0, price: float | None = 4
) -> Topology:
    """DRAM at 10 a GiB, and CXL at `price`."""
    nodes = [
        {"name": "dram", "cpus": cpus, "capacity": 128 * GIB, "latency_ns": latency, "bandwidth_gb_s": 200.0},
        {"name": "cxl", "device": "cxl", "capacity": 512 * GIB, "latency_ns": 271.0, "bandwidth_gb_s": 26.0},
    ]
    return Topology.model_validate({"nodes": nodes, "llc": llc or None, "price": PRICE})


@pytest.fixture(scope="module")
def template() -> Sizes:
    """Real sizes, whose runs and points the tests below replace."""
    return size(TRACE, machine(), ["none", "oracle-static"], slowdown=1.3, setting=replace(SETTING, seeds=3))


def one(label: str, cost: float | None, half: float | None = None, runs_on: str = "kernel") -> Size:
    return Size(label, runs_on, 0.5, 0.0, 1.0, 0.4, 0.5, 1.0, None, cost, half)  # type: ignore[arg-type]


def point(label: str, cost: float | None, slowdown: float | None, runs_on: str = "kernel") -> Point:
    return Point(label, runs_on, 0.5, cost, slowdown, None)  # type: ignore[arg-type]


def held(found: Sizes, tiers: str, sizes: Sequence[Size] = (), points: Sequence[Point] = ()) -> Sizes:
    return replace(found, tiers=tiers, sizes=sizes, points=points, slowdown=1.05)


def test_each_size_costs_what_its_memory_does(template: Sizes) -> None:
    footprint = 256 * 4096 / GIB
    for each in template.sizes:
        assert each.fast_share is not None
        expected = footprint * (10 * each.fast_share + 4 * (1 - each.fast_share))
        assert each.cost == pytest.approx(expected), each.label
        # A share more costs (10 - 4) more for each GiB: so wide is the interval.
        assert each.cost_ci95 == pytest.approx(footprint * 6 * each.ci95)
    alone = template.points[-1]
    assert (alone.label, alone.fast_share, alone.slowdown) == ("all-fast", 1.0, 1.0)
    assert alone.cost == pytest.approx(footprint * 10)


def test_every_share_that_was_tried_is_a_point(template: Sizes) -> None:
    none = [each for each in template.points if each.label == "none"]
    assert [each.fast_share for each in none] == sorted({each.fast_share for each in none})
    assert {0.05, 0.2, 0.4, 0.7, 0.95} < {each.fast_share for each in none}
    slowdowns = [each.slowdown for each in none]
    assert slowdowns == sorted(slowdowns, reverse=True)  # first touch: more fast memory is faster
    least = next(each for each in template.sizes if each.label == "none")
    assert any(each.fast_share == least.most and each.slowdown <= 1.3 for each in none)


def test_the_front_has_what_nothing_of_today_beats(template: Sizes) -> None:
    """b is dearer than a and as fast; d is slower than c; e ties with c; o knows the future, and p awaits a patch."""
    first = held(
        template,
        "first",
        points=[
            point("a", 10, 2.0),
            point("b", 12, 2.0),
            point("c", 20, 1.5, "user space"),
            point("o", 5, 1.0, "nowhere"),
            point("p", 6, 1.1, "to come"),
        ],
    )
    second = held(
        template,
        "second",
        points=[
            point("d", 25, 1.6),
            point("e", 20, 1.5),
            point("killed", 1, None),
            point("all-fast", 40, 1.0),
            point("f", 10, 2.5),
        ],
    )
    assert [(tiers, each.label) for tiers, each in front([first, second])] == [
        ("first", "a"),
        ("first", "c"),
        ("second", "e"),
        ("second", "all-fast"),
    ]


def test_the_cheapest_is_of_today_and_names_what_the_seeds_do_not_tell_apart(template: Sizes) -> None:
    first = held(
        template, "first", [one("a", 100, 3), one("o", 10, 0, "nowhere"), one("p", 20, 0, "to come")]
    )
    second = held(template, "second", [one("b", 105, 2), one("c", 106, 2.9), one("d", None)])
    found = cheapest([first, second])
    assert found is not None
    # 105 - 2 = 103 = 100 + 3 touches; 106 - 2.9 = 103.1 does not.
    assert (found.tiers, found.label, found.cost, found.cost_ci95) == ("first", "a", 100, 3)
    assert found.alike == (("second", "b"),)


def test_fast_memory_alone_is_an_offer_where_it_is_fast_enough(template: Sizes) -> None:
    dear = held(template, "dear", [one("a", 100, 1)], [point("all-fast", 90, 1.0)])
    slow = held(template, "slow", [], [point("all-fast", 50, 1.06)])
    found = cheapest([dear, slow])
    assert found is not None
    assert (found.tiers, found.label, found.alike) == ("dear", "all-fast", ())
    assert cheapest([slow]) is None


def test_it_is_the_same_program_on_all_tiers_and_the_fastest_machine_is_the_measure() -> None:
    """The second machine has slower DRAM, four times the CPUs and another cache."""
    first, second = machine(), machine(latency=200, cpus=32, llc=1 << 30)
    found = size_tiers(TRACE, {"a": first, "b": second}, ["none"], slowdown=1.3, setting=SETTING).found
    similar = [each.setup.similarity for each in found]
    assert similar[0].footprint_bytes == similar[1].footprint_bytes
    assert [each.threads for each in similar] == [8, 8]
    alone = [each.points[-1].slowdown for each in found]
    assert alone[0] == 1.0
    assert alone[1] is not None
    assert 1.5 < alone[1] < 2.0  # its misses take twice as long, its instructions do not
    # Fast memory alone is too slow there: no size is enough, and what it is missed by counts from the faster machine.
    (missed,) = found[1].sizes
    assert missed.fast_share is None
    assert missed.at_largest is not None
    assert missed.at_largest > alone[1] - 1e-9
    assert missed.missed_by == pytest.approx(missed.at_largest - 1.3)
    # Given the other way round, it is still the faster one.
    turned = size_tiers(
        TRACE, {"b": second, "a": first}, ["none"], slowdown=1.3, setting=replace(SETTING, threads=8)
    )
    assert turned.found[1].points[-1].slowdown == 1.0


def written(folder: Path, name: str, price: str = "", latency: int = 271) -> str:
    text = (Path(__file__).parents[3] / "src/pghot/data/tiers/dram-cxl.toml").read_text()
    path = folder / name
    path.write_text(text.replace("latency_ns = 271", f"latency_ns = {latency}") + price)
    return str(path)


def price(currency: str = "USD", cxl: float = 4) -> str:
    return (
        f'\n[price]\ncurrency = "{currency}"\nsource = "an offer"\ndate = 2026-11-03\n'
        f"per_gib = {{ dram = 10, cxl = {cxl} }}\n"
    )


WORDS = ["--policies", "none,oracle-static", "--duration", "one-pass", "--seeds", "1", "--slowdown", "20%"]


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "trace.pghot"
    write_recording(path, TRACE)
    return str(path)


def test_the_command_compares_tiers_and_draws_them(
    tmp_path: Path, trace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    near = written(tmp_path, "near.toml", price(cxl=6))
    far = written(tmp_path, "far.toml", price(cxl=4), latency=600)
    table, picture = tmp_path / "a.csv", tmp_path / "a.svg"
    both = ["--tiers", near, "--tiers", far]
    assert run(["size", trace, *WORDS, *both, "-o", str(table), "-o", str(picture)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"{near}: One socket of DRAM" in out
    assert "USD a GiB: dram 10, cxl 6 (an offer, 2026-11-03)" in out
    assert "the cheapest of today that keeps 20 %: none on " in out
    assert "nothing of today that was tried is both cheaper and faster" in out
    rows = csv.read_csv(table).to_pylist()
    assert {row["tiers"] for row in rows} == {near, far}
    assert {row["label"] for row in rows} == {"none", "oracle-static", "all-fast"}
    assert not any(row["front"] for row in rows if row["label"] == "oracle-static")
    kept = sorted((row["cost"], row["slowdown"]) for row in rows if row["front"])
    assert len(kept) > 2
    assert [slowdown for _, slowdown in kept] == sorted((slowdown for _, slowdown in kept), reverse=True)
    drawn = picture.read_text()
    assert 'id="front"' in drawn
    assert "<svg" in drawn
    assert run(["size", trace, *WORDS, *both, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["schema"] == "pghot.size-tiers/1"
    assert [each["tiers"] for each in facts["tiers"]] == [near, far]
    assert sorted((each["cost"], each["slowdown"]) for each in facts["front"]) == [
        (pytest.approx(cost), pytest.approx(slowdown)) for cost, slowdown in kept
    ]
    assert facts["cheapest"]["label"] == "none"
    assert facts["tiers"][1]["price"]["per_gib"] == {"dram": 10, "cxl": 4}


def test_one_tiers_with_prices_has_costs(
    tmp_path: Path, trace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "a.toml", price())
    assert run(["size", trace, *WORDS, "--tiers", path, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    none = next(each for each in facts["sizes"] if each["label"] == "none")
    held_gib = facts["setup"]["footprint_pages"] * 4096 / GIB
    assert none["cost"] == pytest.approx(held_gib * (10 * none["fast_share"] + 4 * (1 - none["fast_share"])))
    assert facts["cheapest"] == {
        "tiers": path, "label": "none", "cost": none["cost"], "cost_ci95": None, "alike": [],
    }  # fmt: skip


def test_where_slow_memory_is_dear_fast_memory_alone_is_the_cheapest(
    tmp_path: Path, trace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "a.toml", price(cxl=11))
    assert run(["size", trace, *WORDS, "--tiers", path]) == 0
    assert "the cheapest of today that keeps 20 %: all-fast, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("tiers", "more", "said"),
    [
        (["usd", "eur"], [], "are in USD, those of "),
        (["usd", "usd"], [], "is given twice"),
        (["usd", "none"], ["-o", "a.png"], "has no prices, so a picture of cost has nothing to show of it"),
        (["none"], ["-o", "a.pdf"], "has no prices"),
        (["usd"], ["-o", "a.html"], "unknown format"),
        (["usd"], ["--force"], "--force goes with --output"),
        (["nowhere"], [], "cannot read tiers file"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_the_replay(
    tmp_path: Path,
    tiers: list[str],
    more: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("usd", price()), ("eur", price("EUR")), ("none", "")):
        written(tmp_path, f"{name}.toml", text)
    given = [word for name in tiers for word in ("--tiers", f"./{name}.toml")]
    assert run(["size", "bundled:redis-zipf", *given, *more]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    error, hint = err.splitlines()
    assert said in error
    assert hint.startswith("hint: ")


def test_tiers_without_prices_are_compared_by_size_and_it_is_said(
    tmp_path: Path, trace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    near, far = written(tmp_path, "near.toml", price()), written(tmp_path, "far.toml", latency=600)
    assert run(["size", trace, *WORDS, "--tiers", near, "--tiers", far]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"{far} has no [price]: what it costs is not known" in out
    assert f"the cheapest of today that keeps 20 %: none on {near}" in out
