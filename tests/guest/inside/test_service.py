"""The daemon with the kernel behind it: it promotes, tells its consumers, and puts everything back on SIGTERM."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from helpers import Daemon, Pghot, Program, knobs, pghot

from waiting import until

pytestmark = pytest.mark.two_tiers


def tracking(place: Path, program: Program, *sources: str) -> Daemon:
    return Daemon(place, f"pids = [{program.pid}]", sources)


def sightings(daemon: Daemon) -> dict[str, int]:
    """How much each source saw since the last (re)load."""
    return {each["name"]: each["counters"]["pghot_sightings"] for each in daemon.status()["sources"]}


def test_the_daemon_promotes_and_sigterm_puts_everything_back(tmp_path: Path) -> None:
    before = knobs()
    socket, journal = tmp_path / "pghot.sock", tmp_path / "daemon.pghot-journal"
    with Program(128, 0.25, 1) as program:
        with tracking(tmp_path, program, "faults") as daemon:
            program.arrives(run=daemon)
            assert daemon.status()["moves"]["promoted_pages"] > 0
            out = daemon.asked("hot", "--by", "page", "--top", "1000", "--json")
            hot = {row["address"] for row in json.loads(out)["hot"] if row["pid"] == program.pid}
            touched = set(program.address[program.hot()].tolist())
            assert len(hot & touched) >= 0.95 * len(hot)
            assert knobs() != before
            code, _, err = daemon.finish(signal.SIGTERM)
        assert code == 0, err
        assert (program.nodes() == 1).all()
        assert knobs() == before
        assert not journal.exists()
        assert not socket.exists()


@pytest.mark.long
def test_sources_join_and_leave_a_running_daemon(tmp_path: Path) -> None:
    """Hint faults and soft-dirty bits at once; then one of them, whose work goes on; then both again."""
    before = knobs()
    with Program(128, 0.25, 1, "write") as program:
        with tracking(tmp_path, program, "faults", "softdirty") as daemon:

            def both_saw() -> bool:
                saw = sightings(daemon)
                return list(saw) == ["faults", "softdirty"] and min(saw.values()) >= program.hot().sum()

            program.arrives(run=daemon)
            until(both_saw, "sightings of both sources", lambda: sightings(daemon))
            said = daemon.asked("status", "1", "2").splitlines()
            for name in ("faults", "softdirty"):
                lines = [line.strip() for line in said if line.strip().startswith(f"{name}: ")]
                assert len(lines) == 2, said
                assert all("sightings, " in line and "/s, " in line and " lost; " in line for line in lines)

            daemon.configure(["softdirty"])
            daemon.process.send_signal(signal.SIGHUP)
            daemon.until(lambda: list(sightings(daemon)) == ["softdirty"], "the reload")
            assert knobs() == before, "the hint faults are gone with their source"
            program.signal(signal.SIGUSR1)
            program.arrives(run=daemon)  # the other one works on

            daemon.configure(["faults", "softdirty"])
            daemon.process.send_signal(signal.SIGHUP)
            daemon.until(lambda: len(sightings(daemon)) == 2, "the reload")
            program.signal(signal.SIGUSR1)
            program.arrives(run=daemon)
            until(both_saw, "sightings of both sources", lambda: sightings(daemon))
            code, _, err = daemon.finish(signal.SIGTERM)
        assert code == 0, err
        assert (program.nodes() == 1).all(), "through both reloads"
        assert knobs() == before


@pytest.mark.long
def test_a_second_is_refused_and_a_knob_of_a_stranger_is_named(tmp_path: Path) -> None:
    size = Path("/sys/kernel/debug/sched/numa_balancing/scan_size_mb")
    before = knobs()
    with Program(16, 0.25, 1) as program, tracking(tmp_path, program, "faults") as daemon:
        assert daemon.degraded("knobs") == []
        code, _, err = pghot("run", "--source", "softdirty", "-p", str(program.pid))
        assert code == 1
        assert f"pghot {daemon.process.pid} (" in err
        assert "changes this machine already" in err
        ours = size.read_text()
        size.write_text("7")
        daemon.until(lambda: daemon.degraded("knobs"), "the word that a knob was changed")
        (told,) = daemon.degraded("knobs")
        assert f"{size} is '7', but pghot had set it to '{ours.strip()}'" in told
        assert size.read_text().strip() == "7", "it is not fought over"
        size.write_text(ours)
        daemon.until(lambda: not daemon.degraded("knobs"), "the word that it is well")
        code, _, err = daemon.finish(signal.SIGTERM)
    assert code == 0, err
    assert knobs() == before
    events = [json.loads(line) for line in err.splitlines()]
    told_twice = [each["event"] for each in events if each.get("part") == "knobs"]
    assert told_twice == ["degraded", "no longer degraded"]


HEAVY = """
from pghot.live.sources.softdirty import SoftDirty

class Heavy(SoftDirty):
    name = "heavy"
    weight = 7
"""


def test_sources_at_once_count_by_their_weights(tmp_path: Path) -> None:
    """A source of another package that declares a weight of 7, beside hint faults (1, and 2 for a fast one)."""
    (tmp_path / "heavy.py").write_text(HEAVY)
    package = tmp_path / "heavy-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: heavy\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[pghot.live_sources]\nheavy = heavy:Heavy\n")
    place = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])}
    with Program(64, 0.25, 1, "write") as program, Pghot(
        "run", "--apply", "--source", "faults,heavy", "-p", str(program.pid), "--json",
        "--journal", str(tmp_path / "j.pghot-journal"), environment=place,
    ) as run:  # fmt: skip
        program.arrives(run=run)
        _, out, _ = run.finish()
    facts = json.loads(out)
    faults, heavy = facts["sources"]
    assert [(each["name"], each["weight"]) for each in facts["sources"]] == [("faults", 1), ("heavy", 7)]
    seen, by_weight = (each["counters"]["pghot_sightings"] for each in (faults, heavy))
    assert min(seen, by_weight) >= program.hot().sum()
    skipped = sum(count for name, count in facts["counters"].items() if name.startswith("pghot_skipped_"))
    least, most = seen + 7 * by_weight - 7 * skipped, 2 * seen + 7 * by_weight
    assert least <= facts["counters"]["pghot_reported_accesses"] <= most
    assert most < 7 * (seen + by_weight)
