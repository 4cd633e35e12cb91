"""Shared memory, files and forks: a page that several programs map is one, and moves when it may."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers import SHARED, Pghot, Program, knobs, pghot, report

pytestmark = pytest.mark.two_tiers
MIB = 64


@contextmanager
def a_file(where: Path) -> Iterator[Path]:
    """One that is as large as the programs' memory."""
    path = where / f"file-{time.monotonic_ns()}"
    path.write_bytes(bytes(MIB << 20))
    try:
        yield path
    finally:
        path.unlink()


def run_on(journal: Path, *programs: Program, words: tuple[str, ...] = ()) -> Pghot:
    pids = [word for each in programs for word in ("-p", str(each.pid))]
    return Pghot("run", "--apply", *pids, "--journal", str(journal), "--json", *words)


def brought(what: str, program: Program, run: Pghot) -> dict[str, object]:
    """Wait for the hot pages and see that the cold ones stayed; the run's facts."""
    program.arrives(run=run)
    seconds = time.monotonic() - run.began
    run.goes_on(2)
    where = program.on(0)
    _, out, err = run.finish()
    report("shared", {"test": what, "coverage": where.hot, "cold_share": where.cold, "seconds": seconds})
    assert where.hot >= 0.95, err
    assert where.cold <= 0.02, err
    facts: dict[str, object] = json.loads(out)
    return facts


def undone(journal: Path, program: Program, first: np.ndarray) -> None:
    code, out, err = pghot("undo", str(journal), "--json")
    assert code == 0, out + err
    assert json.loads(out)["pages_back"] > 0
    assert (program.nodes() == first).all()


def test_shared_memory_of_every_form_moves_and_comes_back(tmp_path: Path) -> None:
    before, journal = knobs(), tmp_path / "j"
    with ExitStack() as stack:
        forms = {
            how: stack.enter_context(Program(MIB // 4, 0.25, 1, "random", "run=1", how))
            for how in ("shm", "sysv", "memfd", f"tmpfs={tmp_path}/memory")
        }
        first = {how: program.nodes() for how, program in forms.items()}
        with run_on(journal, *forms.values()) as run:
            for program in forms.values():
                program.arrives(run=run)
            run.goes_on(2)
            where = {how: program.on(0) for how, program in forms.items()}
            _, out, _ = run.finish()
        assert all(each.hot >= 0.95 and each.cold <= 0.02 for each in where.values()), where
        assert json.loads(out)["moves"]["failed"] == {}
        assert knobs() == before
        for how, program in forms.items():
            if how == "shm":
                undone(journal, program, first[how])
            assert (program.nodes() == first[how]).all(), how


@pytest.mark.parametrize("ends", [pytest.param("nobody ends", marks=pytest.mark.long), "the first ends"])
def test_what_two_tracked_programs_map_is_one_page(ends: str, tmp_path: Path) -> None:
    """Undo brings back what either has touched, also when one of them is gone."""
    memory = f"tmpfs={tmp_path}/memory"
    with ExitStack() as stack:
        one = stack.enter_context(Program(MIB, 0.25, 1, "random", "run=1", memory))
        two = stack.enter_context(Program(MIB, 0.25, 1, "random", "run=1", memory))
        first = two.nodes()
        facts = brought("two tracked", two, run_on(tmp_path / "j", one, two))
        hot = int(two.hot().sum())
        assert facts["moves"]["promoted_pages"] <= 1.1 * hot, "a page was counted twice"  # type: ignore[index]
        if ends == "the first ends":
            one.end()
        undone(tmp_path / "j", two, first)


@pytest.mark.long
def test_what_others_map_too_is_left_alone_unless_its_kind_is_named(tmp_path: Path) -> None:
    memory = f"tmpfs={tmp_path}/memory"
    with (
        Program(MIB, 0.25, 1, "random", "run=1", memory) as ours,
        Program(MIB, 0.25, 1, "random", "run=1", memory) as stranger,
    ):
        first = stranger.nodes()
        with run_on(tmp_path / "j", ours) as run:
            hot = ours.hot().sum()
            run.until(lambda: run.sightings() > 2 * hot, "each hot page seen twice")
            run.goes_on(2)
            _, out, _ = run.finish()
        facts = json.loads(out)
        assert (stranger.nodes() == first).all()
        assert facts["counters"]["pghot_skipped_shared"] > 0
        assert facts["moves"]["failed"].get("EACCES", 0) > 0
        brought(
            "a stranger maps it, named", ours, run_on(tmp_path / "k", ours, words=("--kinds", "anon,shmem"))
        )
        undone(tmp_path / "k", stranger, first)


@pytest.mark.long
def test_a_mapped_file_moves_when_it_is_asked_for(tmp_path: Path) -> None:
    with a_file(SHARED) as path, Program(MIB, 0.25, 1, "random", "run=512", f"file={path}") as program:
        first = program.nodes()
        brought("mapped file", program, run_on(tmp_path / "j", program, words=("--kinds", "anon,file")))
        undone(tmp_path / "j", program, first)


@pytest.mark.long
def test_pages_that_a_fork_shares_move(tmp_path: Path) -> None:
    """The kernel marks no such page for hint faults. DAMON sees regions, so what is cold is not judged."""
    with Program(MIB, 0.25, 1, "flush", "run=512", "forks=1") as program:
        first = program.nodes()
        run = run_on(tmp_path / "j", program, words=("--source", "damon"))
        program.arrives(run=run)
        _, out, _ = run.finish()
        report("shared", {"test": "forked", "coverage": program.on(0).hot, "cold_share": program.on(0).cold})
        assert json.loads(out)["moves"]["promoted_pages"] >= 0.95 * program.hot().sum()
        undone(tmp_path / "j", program, first)
