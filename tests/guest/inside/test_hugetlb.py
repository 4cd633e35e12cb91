"""Pages of the hugetlb pools: they move whole, as far as the pool has room, and come back."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers import Pghot, Program, pghot, report

pytestmark = pytest.mark.two_tiers
MIB = 16  # eight pages of 2 MiB, of which two are hot
FLUSHING = ("flush", "run=1024", "rest=5")  # a pass takes less than a tenth of the 50 ms between two looks
DAMON = (
    "--kinds", "hugetlb", "--source", "damon", "--set", "damon.sample_us=50000", "--set", "damon.aggregate_us=1000000",
    "--set", "damon.min_regions=100",
)  # fmt: skip


def pool(node: int, name: str = "nr_hugepages") -> Path:
    return Path(f"/sys/devices/system/node/node{node}/hugepages/hugepages-2048kB/{name}")


def sizes() -> list[int]:
    return [int(pool(node).read_text()) for node in (0, 1)]


@contextmanager
def pools(*pages: int) -> Iterator[None]:
    """So many pages on each node."""
    for node, count in enumerate(pages):
        pool(node).write_text(str(count))
    assert sizes() == list(pages), "the guest has no room for the pools"
    try:
        yield
        assert sizes() == list(pages), "the pools are the operator's"
    finally:
        for node in (0, 1):
            pool(node).write_text("0")


@contextmanager
def hugetlbfs(place: Path) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-t", "hugetlbfs", "none", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def run_on(journal: Path, *programs: Program) -> Pghot:
    pids = [word for each in programs for word in ("-p", str(each.pid))]
    return Pghot("run", "--apply", *pids, "--journal", str(journal), "--json", *DAMON)


def test_private_and_shared_pages_move_and_come_back(tmp_path: Path) -> None:
    """Two programs map a file; undo goes through the one that lives. DAMON sees regions, so cold pages may move."""
    with pools(16, 16), hugetlbfs(Path("/run/hugetlbfs")) as place, ExitStack() as stack:
        forms = ("hugetlb=private", f"tmpfs={place}/x", f"tmpfs={place}/x")
        programs = [stack.enter_context(Program(MIB, 0.25, 1, *FLUSHING, how)) for how in forms]
        first = [each.nodes() for each in programs]
        run = run_on(tmp_path / "j", *programs)
        for each in programs:
            each.arrives(run=run)
        _, out, err = run.finish()
        facts = json.loads(out)
        moved = [int((each.nodes() == 0).sum()) for each in programs[:2]]
        report("shared", {"test": "hugetlb", "coverage": programs[0].on(0).hot, "cold_share": programs[0].on(0).cold,
                          "seconds": facts["seconds"]})  # fmt: skip
        assert facts["moves"]["promoted_pages"] - facts["moves"]["demoted_pages"] == sum(moved), err
        assert not any(count % 512 for count in moved)
        assert facts["counters"]["pghot_hugetlb_bytes"] == facts["counters"]["pghot_hugetlb_no_room"] == 0
        programs[1].end()
        code, out, err = pghot("undo", str(tmp_path / "j"), "--json")
        assert code == 0, out + err
        assert json.loads(out)["pages_back"] == sum(moved)
        for i in (0, 2):
            assert (programs[i].nodes() == first[i]).all(), forms[i]


def test_a_full_pool_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    """There is one free page for two hot ones, and the kernel must not make more."""
    with pools(1, 8), Program(MIB, 0.25, 1, *FLUSHING, "text", "hugetlb") as program:
        with run_on(tmp_path / "j", program) as run:
            run.until(lambda: "pool of 2 MiB pages on node 0 is full" in run.said(), "the full pool is named")
            assert (program.nodes() == 0).sum() == 512
            _, out, _ = run.finish()
        assert json.loads(out)["counters"]["pghot_hugetlb_no_room"] > 0
        program.process.send_signal(signal.SIGTERM)
        assert program.process.stdout is not None
        assert json.loads(program.process.stdout.readline()) == {"unchanged": True}
        assert np.array_equal(sizes(), [1, 8])
        program.end()
