"""What memory costs: by hand for several machines, and what is no price."""

from __future__ import annotations

from pathlib import Path

import pytest

from pghot.errors import UsageError
from pghot.lab.cost import memory_cost
from pghot.sim.machine.topology import Topology, load_topology

GIB = 1 << 30
PRICE = """
[price]
currency = "USD"
source = "an offer"
date = 2026-11-03
"""


def tiers(nodes: str, prices: str) -> Topology:
    """Nodes as "name:device:cpus:GiB:ns:GB/s", separated by blanks, with these prices per GiB."""
    made = []
    for node in nodes.split():
        name, device, cpus, gib, latency, bandwidth = node.split(":")
        made.append(
            {
                "name": name,
                "device": device,
                "cpus": int(cpus),
                "capacity": f"{gib} GiB",
                "latency_ns": float(latency),
                "bandwidth_gb_s": float(bandwidth),
            }
        )
    per_gib = {name: float(value) for name, _, value in (each.partition("=") for each in prices.split())}
    price = {"currency": "USD", "source": "an offer", "date": "2026-11-03", "per_gib": per_gib}
    return Topology.model_validate({"nodes": made, "price": price})


def cost(topology: Topology, share: float) -> float | None:
    return memory_cost(topology, 100 * GIB, share)


def test_two_tiers() -> None:
    two = tiers("dram:dram:8:128:100:200 cxl:cxl:0:512:271:26", "dram=10 cxl=4")
    assert cost(two, 0.25) == pytest.approx(25 * 10 + 75 * 4)
    assert cost(two, 0.26) == pytest.approx(26 * 10 + 74 * 4)
    assert cost(two, 1.0) == pytest.approx(100 * 10)


def test_what_is_there_already_costs_nothing() -> None:
    assert cost(tiers("dram:dram:8:128:100:200 cxl:cxl:0:512:271:26", "dram=10 cxl=0"), 0.25) == 250


def test_the_middle_tier_grows_with_the_top_one_and_the_lowest_takes_what_is_left() -> None:
    three = tiers(
        "hbm:hbm:0:64:120:1000 dram:dram:8:128:100:200 cxl:cxl:0:512:271:26", "hbm=30 dram=10 cxl=4"
    )
    assert three.ranks() == [0, 1, 2]
    # A tenth of 100 GiB in HBM, twice as much DRAM as in the file, the other 70 GiB in CXL.
    assert cost(three, 0.1) == pytest.approx(10 * 30 + 20 * 10 + 70 * 4)
    # 50 GiB of HBM: DRAM has room for the other 50, and no CXL is bought.
    assert cost(three, 0.5) == pytest.approx(50 * 30 + 50 * 10)


def test_each_socket_has_its_price() -> None:
    sockets = tiers("a:dram:8:128:100:200 b:dram:8:384:100:200 cxl:cxl:0:512:271:26", "a=10 b=12 cxl=4")
    assert sockets.ranks() == [0, 0, 1]
    # 20 GiB on top: a quarter of it on the first socket, which has a quarter of the DRAM.
    assert cost(sockets, 0.2) == pytest.approx(5 * 10 + 15 * 12 + 80 * 4)


def test_of_a_node_that_compresses_the_medium_of_the_lab_is_bought() -> None:
    given = load_topology("dram-cxl-compressed").model_dump(exclude={"price"})
    per_gib = {"dram": 10, "cxl-compressed": 6}
    price = {"currency": "USD", "source": "an offer", "date": "2026-11-03", "per_gib": per_gib}
    half = Topology.model_validate(given | {"price": price})
    # It promises 1.1 times the footprint, as in the lab, and has half of that: 55 GiB, whatever DRAM takes.
    assert cost(half, 0.25) == pytest.approx(25 * 10 + 55 * 6)
    assert cost(half, 0.75) == pytest.approx(75 * 10 + 55 * 6)
    assert cost(half, 1.0) == pytest.approx(100 * 10)


def test_without_prices_nothing_is_known() -> None:
    assert memory_cost(load_topology("dram-cxl"), 100 * GIB, 0.25) is None


def shipped() -> list[str]:
    return sorted(each.stem for each in (Path(__file__).parents[3] / "src/pghot/data/tiers").glob("*.toml"))


@pytest.mark.parametrize("name", shipped())
def test_no_shipped_tiers_have_prices(name: str) -> None:
    """Nobody's prices are the reader's, and they change by a multiple within months: the user says them."""
    assert load_topology(name).price is None


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            "per_gib = { dram = 10 }",
            "price.per_gib has no price of 'cxl': give one, or 0 if it is there already",
        ),
        ("per_gib = { dram = 10, cxl = 4, pmem = 1 }", "price.per_gib names 'pmem': the nodes are dram, cxl"),
        ("per_gib = { dram = -1, cxl = 4 }", "greater than or equal to 0"),
        ("per_gib = { dram = 1e7, cxl = 4 }", "less than or equal to 1000000"),
        ("per_gib = { dram = inf, cxl = 4 }", "finite number"),
        ("per_gib = { dram = nan, cxl = 4 }", "finite number"),
        ("per_gib = { dram = 'cheap', cxl = 4 }", "valid number"),
        ("per_gib = { dram = 0, cxl = 0 }", "no memory costs anything: there is nothing to compare"),
        ("per_gib = {}", "no memory costs anything"),
        ("", "per_gib: Field required"),
        ("per_gib = { dram = 10, cxl = 4 }\nper_gb = 3", "price.per_gb: unknown key"),
        ("per_gib = 3", "price.per_gib: Input should be a valid dictionary"),
    ],
)
def test_what_is_no_price_is_refused_in_one_line(tmp_path: Path, lines: str, said: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        (Path(__file__).parents[3] / "src/pghot/data/tiers/dram-cxl.toml").read_text() + PRICE + lines
    )
    with pytest.raises(UsageError) as error:
        load_topology(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.hint


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"USD"', '""', "price.currency"),
        ('"USD"', '"two words"', "price.currency"),
        ('source = "an offer"\n', "", "price.source: Field required"),
        ("date = 2026-11-03\n", "", "price.date: Field required"),
        ("2026-11-03", "'soon'", "price.date"),
    ],
)
def test_a_price_says_whose_it_is_and_when(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "a.toml"
    shipped = (Path(__file__).parents[3] / "src/pghot/data/tiers/dram-cxl.toml").read_text()
    path.write_text(shipped + (PRICE + "per_gib = { dram = 10, cxl = 4 }").replace(old, new))
    with pytest.raises(UsageError, match=said):
        load_topology(path)
