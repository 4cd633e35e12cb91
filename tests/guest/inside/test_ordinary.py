"""Hint faults on programs as machines have them: huge pages, random order, threads, many mappings, and old ones."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import BALANCING, Pghot, Program, knobs, report, vmstat

SIZES = Path("/sys/kernel/mm/transparent_hugepage")


def bring(program: Program, what: str, journal: Path) -> None:
    """Run `pghot run --apply` with hint faults: the hot pages come, the cold ones stay."""
    before, by_kernel = knobs(), vmstat("pgpromote_success")
    arguments = ["--source", "faults", "-p", str(program.pid), "--journal", str(journal), "--json"]
    with Pghot("run", "--apply", *arguments) as run:
        program.arrives(run=run)
        seconds = time.monotonic() - run.began
        run.goes_on(3)
        where = program.on(0)
        code, out, err = run.finish()
    facts = json.loads(out)
    report(
        "ordinary programs",
        {
            "program": what,
            "coverage": where.hot,
            "cold_share": where.cold,
            "reached_s": seconds,
            "faults": facts["sources"][0]["counters"]["numa_hint_faults"],
            "cpu_share": facts["counters"]["pghot_cpu_seconds"] / facts["seconds"],
            "promoted_by_the_kernel": vmstat("pgpromote_success") - by_kernel,
        },
    )
    assert code == 130, err
    assert where.hot >= 0.95
    assert where.cold <= 0.02
    assert knobs() == before, "every knob is back"


# Hot pages in runs of so many; with huge pages of whole ones, as what moves is judged.
PROGRAMS = {
    "4 KiB, single pages": ("run=1",),
    "4 KiB, runs of 16": (),
    "huge pages": ("huge", "run=512"),
    "4 threads": ("threads=4",),
    "10 more mappings": ("mappings=10",),
    "100 more mappings": ("mappings=100",),
}


@pytest.mark.two_tiers
@pytest.mark.parametrize("what", PROGRAMS)
def test_hot_pages_in_random_order(what: str, tmp_path: Path) -> None:
    with Program(128, 0.25, 1, "random", "cold=50", *PROGRAMS[what]) as program:
        bring(program, what, tmp_path / "j.pghot-journal")


@contextmanager
def folios_of_64_kib() -> Iterator[None]:
    """Anonymous memory gets these and none of 2 MiB."""
    before = {}
    for size, value in (("2048kB", "never"), ("64kB", "always")):
        switch = SIZES / f"hugepages-{size}/enabled"
        before[switch] = switch.read_text().partition("[")[2].partition("]")[0]
        switch.write_text(value)
    try:
        yield
    finally:
        for switch, value in before.items():
            switch.write_text(value)


@pytest.mark.two_tiers
def test_folios_of_64_kib(tmp_path: Path) -> None:
    with folios_of_64_kib(), Program(128, 0.25, 1, "random", "cold=50", "folios") as program:
        bring(program, "64 KiB folios", tmp_path / "j.pghot-journal")


@pytest.mark.two_tiers
def test_the_second_run_and_the_third_see_what_the_first_saw(tmp_path: Path) -> None:
    with Program(128, 0.25, 1, "random", "cold=50") as program:
        for number in ("first", "second", "third"):
            journal = tmp_path / f"{number}.pghot-journal"
            bring(program, f"{number} run", journal)
            with Pghot("undo", str(journal)) as undo:
                assert undo.finish(0)[0] == 0


@pytest.mark.two_tiers
def test_a_program_that_the_kernel_has_balanced_for_long(tmp_path: Path) -> None:
    """Its threads' scan periods are long by then, and its first two passes are used up."""
    BALANCING.write_text("1")
    with Program(128, 0.25, 1, "random", "cold=50", "threads=2") as program:
        program.goes_on(60)
        bring(program, "balanced for half a minute", tmp_path / "j.pghot-journal")
