"""Around the moves: a hot set that moves, a full node, the rate, the floor, programs that change under way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import (
    PGHOT_MIB,
    Daemon,
    Pghot,
    Program,
    free_mib,
    huge_mib,
    kept_mib,
    knobs,
    pghot,
    report,
    vmstat,
)

from waiting import until

pytestmark = pytest.mark.two_tiers


def run_on(program: Program, journal: Path, *words: str) -> Pghot:
    return Pghot("run", "--apply", "-p", str(program.pid), "--journal", str(journal), "--json", *words)


def test_the_new_hot_set_is_promoted_and_the_old_one_demoted_from_a_full_node(tmp_path: Path) -> None:
    """Once the first hot set is up, node 0 is filled: the second can only come when the first goes.

    The source sees both nodes, so that pghot picks; test_room.py has one that does not.
    """
    words = ("--source", "softdirty")
    with (
        Program(256, 0.25, 1, "write", "calm") as program,
        run_on(program, tmp_path / "j.pghot-journal", *words) as run,
    ):
        program.arrives(run=run)
        with Program(int(free_mib(0) - kept_mib() - 24), 0.25, 0, "idle"):
            program.signal(signal.SIGUSR1)
            assert program.on(0).hot < 0.05
            moved = program.arrives(run=run)
            where, old = program.on(0), program.set_on(0, -1)
            _, out, _ = run.finish()
    facts = json.loads(out)
    report(
        "moving",
        {"test": "hot set moves, node full", "coverage": where.hot, "old_left": old, "seconds": moved},
    )
    assert facts["moves"]["demoted_pages"] >= 0.5 * program.hot().sum()
    assert facts["moves"]["lowest_free_above_floor_pages"] >= 0


def between_prompt_ones(steps: np.ndarray, rate: float, hot_mib: int) -> tuple[float, float]:
    """Seconds and MiB between two migrations, of the first and of the last quarter those that were least late.

    A round that comes late on a busy host moves what it was given by then, and the next one the rest: between any two
    migrations, or along a line through all of them, that looks like another rate.

    steps  time and MiB until then, after each migration
    """
    times, mib = steps[steps[:, 1] >= 0.1 * hot_mib].T
    ahead, quarter = mib - rate * times, len(times) // 4
    first = int(np.argmax(ahead[:quarter]))
    last = len(times) - quarter + int(np.argmax(ahead[-quarter:]))
    return float(times[last] - times[first]), float(mib[last] - mib[first])


@pytest.mark.parametrize(
    "how",
    [pytest.param((), id="4k"), pytest.param(("huge", "run=512"), id="2m", marks=pytest.mark.long)],
)
def test_the_promotion_rate_is_held(how: tuple[str, ...], tmp_path: Path) -> None:
    """What the kernel has migrated over time: never more than the rate allows, within 5 %, over at least 5 s.

    A busy host may keep rounds from coming, so up to a tenth less is no fault.
    """
    rate, hot_mib = 3.0, 40
    # Soft-dirty bits name the hot pages every second: the supply never ends, so that the rate is what limits.
    words = ("--source", "softdirty", "--rate", str(rate))
    steps = [(0.0, 0.0)]
    with Program(2 * hot_mib, 0.5, 1, "write", "calm", *how) as program:
        before = vmstat("pgmigrate_success")

        def nearly_all() -> bool:
            mib = (vmstat("pgmigrate_success") - before) / 256
            if mib != steps[-1][1]:
                steps.append((time.monotonic(), mib))
            return mib >= 0.95 * hot_mib

        with run_on(program, tmp_path / "j.pghot-journal", *words) as run:
            run.until(nearly_all, "most pages migrated", 0.01)
            run.finish()
        migrated = vmstat("pgmigrate_success") - before
        assert migrated == pytest.approx((program.nodes() == 0).sum(), rel=0.01), "somebody else migrates"
    seconds, mib = between_prompt_ones(np.array(steps), rate, hot_mib)
    measured = mib / seconds
    report(
        "moving",
        {
            "test": "rate" + ", huge pages" * bool(how),
            "configured_mb_s": rate,
            "measured_mb_s": measured,
            "over_s": seconds,
        },
    )
    assert seconds >= 5
    assert 0.9 * rate <= measured <= 1.05 * rate


@pytest.mark.long
def test_the_free_floor_is_never_crossed_while_another_program_allocates(tmp_path: Path) -> None:
    """There is more room at first, until others take some of it, but never for all hot pages."""
    # Soft-dirty bits name the hot pages every second: the supply never ends, so that the floor is what stops it.
    room_mib, words = 16, ("--source", "softdirty", "--demotion", "off", "--rate", "4")
    with (
        Program(128, 1.0, 1, "write", "calm") as program,
        Program(int(free_mib(0) - kept_mib() - 64 - PGHOT_MIB - room_mib), 0.25, 0, "idle"),
        run_on(program, tmp_path / "j.pghot-journal", *words) as run,
        contextlib.ExitStack() as others,
    ):
        program.arrives(0.005, run=run, every_s=0.1)
        for _ in range(12):
            if free_mib(0) > kept_mib() + room_mib:
                others.enter_context(Program(8, 0.25, 0, "idle"))
        until(lambda: free_mib(0) < kept_mib() + room_mib / 4, "a full node", lambda: free_mib(0), 0.5)
        run.goes_on(2)
        hot = program.on(0).hot
        _, out, _ = run.finish()
    moves = json.loads(out)["moves"]
    report(
        "moving",
        {
            "test": "floor",
            "coverage": hot,
            "lowest_free_above_floor_pages": moves["lowest_free_above_floor_pages"],
        },
    )
    assert 0.005 < hot < 0.95, "nothing was held back"
    assert moves["lowest_free_above_floor_pages"] >= 0


@pytest.mark.parametrize(
    "change",
    [
        "dies",
        "execs",
        pytest.param("forks", marks=pytest.mark.long),
        pytest.param("unmaps", marks=pytest.mark.long),
    ],
)
def test_a_program_that_changes_under_way_is_no_error(change: str, tmp_path: Path) -> None:
    """Slow moves, so that the change comes in their middle. Nobody else's pages move."""
    before = knobs()
    journal = tmp_path / "j.pghot-journal"
    with Program(128, 0.25, 1, "write", "calm") as program, Program(32, 1.0, 1, "calm") as other:
        with run_on(program, journal, "--source", "softdirty", "--rate", "4", "--batch", "64") as run:
            program.arrives(0.1, run=run, every_s=0.1)
            number = {
                "dies": signal.SIGKILL,
                "execs": signal.SIGHUP,
                "forks": signal.SIGALRM,
                "unmaps": signal.SIGUSR2,
            }
            os.kill(program.pid, number[change])
            if change == "dies":
                program.process.wait()
                code, out, err = run.finish(0)
            else:
                run.goes_on(1)
                code, out, err = run.finish()
        assert code == (0 if change == "dies" else 130), err
        assert "Traceback" not in err
        assert knobs() == before
        assert other.on(0).hot == 0, "a program that is not tracked was moved"
        assert json.loads(out)["moves"]["promoted_pages"] > 0
        code, out, err = pghot("undo", str(journal), "--json")
        # After a fork pages belong to both processes until one writes; what is shared is not moved, and undo says so.
        assert code == (1 if json.loads(out)["pages_left"] else 0), out + err
        assert change == "forks" or not json.loads(out)["pages_left"]


def test_killed_and_undone(tmp_path: Path) -> None:
    """kill -9 in mid-run: undo brings every surviving page to its first node and every knob to its value."""
    before = knobs()
    journal = tmp_path / "j.pghot-journal"
    with Program(128, 0.25, 1) as program:
        first = program.nodes()
        with run_on(program, journal, "--rate", "16") as run:
            program.arrives(0.5, run=run, every_s=0.1)
            code, _, err = pghot("undo", str(journal))
            assert code == 2, "undo while it runs is refused"
            assert "still runs" in err
            run.process.kill()
            run.process.wait()
        assert knobs() != before
        assert (program.nodes() != first).any()
        code, out, err = pghot("undo", str(journal), "--json")
        assert code == 0, out + err
        assert (program.nodes() == first).all()
        assert knobs() == before
        report(
            "moving",
            {"test": "kill -9 and undo", **{k: v for k, v in json.loads(out).items() if "pages" in k}},
        )


def program_with_pid(pid: int) -> Program:
    """The kernel hands out pids in turn: with its counter set back the next program gets this one, mostly at once."""
    for _ in range(20):
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
        stranger = Program(64, 0.25, 1)
        if stranger.pid == pid:
            return stranger
        stranger.end()
    raise AssertionError(f"pid {pid} was never handed out again")


def test_undo_leaves_a_reused_pid_alone(tmp_path: Path) -> None:
    journal = tmp_path / "j.pghot-journal"
    with Program(64, 0.25, 1) as program, run_on(program, journal) as run:
        program.arrives(0.5, run=run)
        run.process.kill()
        run.process.wait()
        program.end()
        with program_with_pid(program.pid) as stranger:
            _, out, _ = pghot("undo", str(journal), "--json")
            facts = json.loads(out)
            assert facts["pages_back"] == 0
            assert facts["processes_gone"]
            assert stranger.on(1).hot == 1


def test_restore_puts_the_pages_back_at_the_end(tmp_path: Path) -> None:
    with Program(64, 0.25, 1) as program:
        with run_on(program, tmp_path / "j.pghot-journal", "--restore") as run:
            program.arrives(0.9, run=run)
            _, out, _ = run.finish()
        assert program.on(1).hot == 1
        assert json.loads(out)["undone"]["pages_back"] > 0


def test_huge_pages_move_whole_and_come_back(tmp_path: Path) -> None:
    with Program(64, 0.25, 1, "huge") as program:
        first = program.nodes()
        with run_on(program, tmp_path / "j.pghot-journal") as run:
            program.arrives(0.9, run=run)
            run.process.kill()
            run.process.wait()
        blocks = program.nodes().reshape(-1, 512)
        assert (blocks == blocks[:, :1]).all(), "a folio is on one node"
        code, out, err = pghot("undo", str(tmp_path / "j.pghot-journal"))
        assert code == 0, out + err
        assert (program.nodes() == first).all()


@pytest.mark.long
def test_huge_pages_that_are_made_of_single_ones_under_way(tmp_path: Path) -> None:
    """All that moved along is counted, and comes back. pghot is stopped meanwhile, or it would be done before."""
    with Program(64, 0.25, 1, "write", "calm") as program:
        first = program.nodes()
        with run_on(program, tmp_path / "j.pghot-journal", "--source", "softdirty", "--rate", "4") as run:
            program.arrives(0, run=run, every_s=0.1)
            run.process.send_signal(signal.SIGSTOP)
            program.signal(signal.SIGWINCH)
            until(lambda: huge_mib(program.pid) > 0, "huge pages")
            there = int((program.nodes() == 0).sum())
            run.process.send_signal(signal.SIGCONT)
            program.arrives(run=run)
            came = int((program.nodes() == 0).sum()) - there
            _, out, _ = run.finish()
        assert json.loads(out)["moves"]["promoted_pages"] >= came >= 0.25 * program.pages
        code, out, err = pghot("undo", str(tmp_path / "j.pghot-journal"))
        assert code == 0, out + err
        assert (program.nodes() == first).all()


@pytest.mark.long
def test_memory_that_its_owner_binds_under_way_is_left_alone(tmp_path: Path) -> None:
    """mbind leaves no trace in maps; from when pghot has noticed, nothing of it moves, and it says how much that is."""
    slowly = "[mover]\nrate_limit_mb_s = 0.5"
    with (
        Program(256, 0.25, 1, "write", "calm") as program,
        Daemon(tmp_path, f"pids = [{program.pid}]", ["softdirty"], slowly) as daemon,
    ):
        program.arrives(0, run=daemon, every_s=0.1)
        program.signal(signal.SIGURG)
        bound = lambda: daemon.status()["counters"]["pghot_bound_bytes"]  # noqa: E731
        daemon.until(lambda: bound() == program.pages * 4096, "all of the program's memory seen as bound")
        share = program.on(0).hot
        then = daemon.status()["seconds"]
        until(lambda: daemon.status()["seconds"] > then + 5, "more rounds")
        assert share == program.on(0).hot < 0.9


def test_an_unprivileged_user_is_told_what_to_add(tmp_path: Path) -> None:
    with Program(16, 1.0, 1) as program:
        code, _, err = pghot("run", "-p", str(program.pid), nobody=True)
    assert code == 4, err
    assert "CAP_" in err


def test_a_missing_feature_is_exit_3() -> None:
    with Program(16, 1.0, 1) as program:
        code, _, err = pghot("run", "--source", "idle", "-p", str(program.pid))
    assert code == 3
    assert "CONFIG_IDLE_PAGE_TRACKING" in err


def test_a_dry_run_moves_nothing(tmp_path: Path) -> None:
    before = knobs()
    with Program(64, 0.25, 1) as program:
        with Pghot(
            "run", "-p", str(program.pid), "--json", "--journal", str(tmp_path / "j.pghot-journal")
        ) as run:
            run.until(lambda: "would promote 16.0 MiB" in run.said(), "the promotion")
            _, out, _ = run.finish()
        assert (program.nodes() == 1).all()
    facts = json.loads(out)
    assert facts["mode"] == "dry run"
    assert facts["moves"]["promoted_pages"] == pytest.approx(program.hot().sum(), rel=0.05)
    assert knobs() == before
