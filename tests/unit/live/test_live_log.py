"""The log of a live run over a fake kernel, read back by `pghot report explain -`."""

from __future__ import annotations

import csv
import json
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders.live_loop import ALWAYS, START, FakeKernel, Scripted, addresses, one_program, register
from pghot.cli.main import run
from pghot.decision_log.reading import DecisionLog
from pghot.decision_log.row_format import COLUMNS, FACTS_KEY, ROW, What
from pghot.errors import UsageError
from pghot.live.decision_log import live_log, log_pages, rows_file
from pghot.live.decision_log.kept import logged
from pghot.live.decision_log.rows_file import RowsFile
from pghot.live.journal import Journal
from pghot.live.live_settings import LiveSettings
from pghot.live.loop import Live
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.sources.access_source import Sightings, sightings_of
from pghot.live.targets import Targets
from pghot.recording.target import target_of
from pghot.report.chain_panels import panels
from pghot.report.chain_times import BINS, times_of
from pghot.report.chains import chains_of
from pghot.sealed import unseal

PID = 500
HOT = addresses(100, 23)
ONCE = addresses(50, 1)  # one access, where two make a page hot


class Bench:
    """A fake kernel with a program of 1024 pages on the slow node, and the log of a run over it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kernel: FakeKernel = one_program(root, monkeypatch, PID, 1024)
        self.source: type[Scripted] = register(monkeypatch)
        self.path = root / "log.parquet"
        self.now_ns = 10**12
        self.left_out: list[str] = []

    def run(
        self,
        says: list[list[Sightings]],
        rounds: int = 20,
        meanwhile: Callable[[int], None] = lambda number: None,
        force: bool = False,
        **given: Any,
    ) -> Live:
        """Rounds of 100 ms, in each of which the source says something; `meanwhile` is called before each."""
        settings = LiveSettings(
            Targets((PID,)),
            ("scripted",),
            policy_options={"freq_threshold": 2},
            mover=MoverSettings(rate_limit_mb_s=1000.0),
            **{"apply": True, **given},
        )
        self.source.says[:] = says
        with Journal(self.kernel.tree / "j", self.kernel.root) as journal:
            self.kernel.journal = journal.path
            live = Live(self.kernel.root, settings, journal, lambda: self.now_ns)
            with logged(live, self.path, force, self.left_out):
                live.start()
                for number in range(rounds):
                    meanwhile(number)
                    self.now_ns += 100_000_000
                    live.tick()
                live.stop()
            journal.discard()
        return live


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def hot(times: int = 1) -> list[Sightings]:
    return [sightings_of(PID, HOT) for _ in range(times)]


def explained(capsys: pytest.CaptureFixture[str], log: Path, what: str) -> list[str]:
    assert run(["report", "explain", "-", what, "--log", str(log)]) == 0, capsys.readouterr().err
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def joined(lines: list[str]) -> str:
    return " ".join(lines)


def test_the_chain_of_a_page_from_what_was_seen_to_the_move(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.run([[*hot(2), sightings_of(PID, ONCE)]])
    assert bench.left_out == []
    text = joined(explained(capsys, bench.path, hex(int(HOT[3]))))
    assert f"page {int(HOT[3]):#x} of [anon] of program: 4.0 KiB" in text
    assert "pghot-default, hears scripted" in text
    assert "0.10 s first seen, on node 1" in text
    assert (
        "scripted saw 2 accesses; counted 2, hot from 2; a candidate: promoted from node 1 to node 0 "
        "by move_pages" in text
    )
    cold = joined(explained(capsys, bench.path, hex(int(ONCE[0]))))
    assert "scripted saw 1 access; counted 1, hot from 2; below the threshold: no candidate" in cold
    assert "promoted" not in cold


def test_the_log_agrees_with_what_moved(bench: Bench) -> None:
    """Each page that is on the fast node in the end has one row of its move, and no other page has one."""
    live = bench.run([hot(2), hot(1), [sightings_of(PID, ONCE)]])
    rows = pq.read_table(bench.path)
    moved = rows.filter(pa.compute.equal(rows["what"], "promoted"))
    first_page = moved["page"].to_numpy() % 32768
    expected = [(address - START) >> 12 for (_, address), node in bench.kernel.node.items() if node == 0]
    assert sorted(first_page.tolist()) == sorted(expected) == list(range(100, 123))
    assert moved.num_rows == live.machine.counts.promoted == 23
    assert set(moved["why"].to_pylist()) == {"hot"}
    seen = rows["seen"].combine_chunks().flatten().to_numpy()
    assert seen.sum() == 23 * 3 + 1


def test_an_error_of_move_pages_is_told_and_not_called_a_lack_of_room(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    page = int(HOT[0])
    bench.kernel.busy[PID, page] = ALWAYS
    bench.kernel.shared.add((PID, int(HOT[1])))
    bench.run([hot(2)] * 5)
    busy = joined(explained(capsys, bench.path, hex(page)))
    assert "a candidate, but move_pages failed with EBUSY: the page was busy" in busy
    assert "no room" not in busy
    shared = joined(explained(capsys, bench.path, hex(int(HOT[1]))))
    assert "move_pages failed with EACCES: other programs map it, too" in shared
    assert "promoted" not in shared


def test_a_full_node_refuses_and_a_later_round_promotes(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.kernel.free[0] = 0
    bench.kernel._show_free()

    def make_room(number: int) -> None:
        if number == 10:
            bench.kernel.free[0] = 8192
            bench.kernel._show_free()

    bench.run([hot(2) for _ in range(20)], 30, make_room)
    lines = explained(capsys, bench.path, hex(int(HOT[0])))
    refused = next(i for i, line in enumerate(lines) if "no room in the top tier" in joined(lines[i : i + 3]))
    promoted = next(i for i, line in enumerate(lines) if "promoted from node 1" in joined(lines[i : i + 3]))
    assert refused < promoted


def test_a_dry_run_says_what_would_be(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.run([hot(2)], apply=False)
    assert bench.kernel.moves == []
    text = joined(explained(capsys, bench.path, hex(int(HOT[0]))))
    assert "a candidate: would be promoted from node 1 to node 0" in text
    assert run(["report", "explain", "-", hex(int(HOT[0])), "--log", str(bench.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["runs"][0]["apply"], told["runs"][0]["top_share"]) == (False, None)
    assert [row["what"] for row in told["runs"][0]["rows"]] == ["placed", "promoted"]


@pytest.mark.parametrize("apply", [True, False])
def test_the_decisions_about_a_region_are_summed(
    bench: Bench, capsys: pytest.CaptureFixture[str], apply: bool
) -> None:
    bench.kernel.busy[PID, int(HOT[0])] = ALWAYS
    bench.run([[*hot(2), sightings_of(PID, ONCE)]], apply=apply)
    text = joined(explained(capsys, bench.path, "[anon]"))
    assert "24 pages first seen on node 1" in text
    assert "scripted saw 47 accesses of 24 pages" in text
    if apply:
        assert "22 pages, 22 times: promoted as hot from node 1 to node 0 by move_pages" in text
        assert "move_pages failed with EBUSY: the page was busy" in text
        # 22 of the 24 pages that were seen.
        assert "91.7 % at the end" in text
    else:
        assert "23 pages, 23 times: would be promoted as hot from node 1 to node 0 by move_pages" in text
        assert "in the top tier" not in text


def test_the_file_is_for_its_owner_and_has_its_name_only_at_the_end(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    partial = bench.path.with_name("log.parquet.partial")
    there: list[tuple[bool, bool, int]] = []

    def look(number: int) -> None:
        there.append((bench.path.exists(), partial.exists(), stat.S_IMODE(partial.stat().st_mode)))
        if number == 3:
            (bench.path.parent / "killed.parquet.partial").write_bytes(partial.read_bytes())

    bench.run([hot(2)], meanwhile=look)
    assert set(there) == {(False, True, 0o600)}
    assert (bench.path.exists(), partial.exists()) == (True, False)
    assert stat.S_IMODE(bench.path.stat().st_mode) == 0o600
    killed = str(bench.path.parent / "killed.parquet.partial")
    assert run(["report", "explain", "-", "0x1000", "--log", killed]) == 2
    assert "has no end: its run goes on, or was killed" in capsys.readouterr().err


def test_a_run_that_fails_leaves_no_log(bench: Bench) -> None:
    def fail(number: int) -> None:
        raise RuntimeError("as a source may")

    with pytest.raises(RuntimeError):
        bench.run([], meanwhile=fail)
    assert list(bench.path.parent.glob("log.parquet*")) == []


def test_a_name_that_is_taken_is_refused_before_anything_starts(bench: Bench) -> None:
    bench.path.write_text("mine")
    with pytest.raises(UsageError, match="will not overwrite"):
        bench.run([])
    assert bench.source.order == []
    bench.path.unlink()
    partial = bench.path.with_name("log.parquet.partial")
    partial.write_text("of another run")
    with pytest.raises(UsageError, match="is of a run that was killed, or goes on"):
        bench.run([])
    bench.run([hot(2)], force=True)
    assert bench.path.exists()
    assert not partial.exists()


def test_sections_beyond_the_bound_are_left_out_and_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(live_log, "MOST_SECTIONS", 0)
    monkeypatch.setattr(log_pages, "MOST_SECTIONS", 0)
    live = bench.run([hot(2)])
    assert live.machine.counts.promoted == 23, "the log does not hold up what it cannot log"
    # Both reports of 23 pages, the request to move them, and the moves.
    assert len(bench.left_out) == 1
    assert "92 reports on pages of others were left out" in bench.left_out[0]
    assert run(["report", "explain", "-", hex(int(HOT[0])), "--log", str(bench.path)]) == 2
    assert "is in no region of the log" in capsys.readouterr().err


def test_rows_that_the_disk_is_too_slow_for_are_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch is with the disk and four wait: the sixth is dropped at once, nobody waits."""
    go_on, taken = threading.Event(), threading.Event()
    real = rows_file.to_arrow

    def slow(*given: Any) -> pa.Table:
        taken.set()
        assert go_on.wait(60)
        return real(*given)

    file = RowsFile(tmp_path / "log.parquet", "run", force=False)
    monkeypatch.setattr(rows_file, "to_arrow", slow)
    rows, seen = np.zeros(7, ROW), np.zeros((7, 1), np.uint32)
    file.put(rows, seen, [""])
    assert taken.wait(60)
    for _ in range(rows_file.WAITING + 1):
        file.put(rows, seen, [""])
    assert (file.rows, file.dropped) == (5 * 7, 7)
    go_on.set()
    file.finish({"schema": "x"})
    read = pq.ParquetFile(tmp_path / "log.parquet")
    assert read.metadata.num_rows == 35
    assert read.schema_arrow.equals(COLUMNS)
    assert unseal(read.metadata.metadata[FACTS_KEY].decode()) == {"schema": "x"}


def test_a_full_file_takes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_file, "MOST_ROWS", 10)
    file = RowsFile(tmp_path / "log.parquet", "run", force=False)
    for _ in range(2):
        file.put(np.zeros(7, ROW), np.zeros((7, 1), np.uint32), [""])
    assert (file.rows, file.dropped) == (7, 7)
    file.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_costs_the_log_and_not_the_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rows_file.to_arrow

    def full(run: str, rows: np.ndarray, *given: Any) -> pa.Table:
        if len(rows):
            raise OSError(28, "No space left on device")
        return real(run, rows, *given)

    monkeypatch.setattr(rows_file, "to_arrow", full)
    live = bench.run([hot(2)])
    assert live.machine.counts.promoted == 23
    assert [line for line in bench.left_out if "no log: cannot write" in line and "No space left" in line]
    assert list(bench.path.parent.glob("log.parquet*")) == []


def test_logs_and_recordings_are_not_taken_for_each_other(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.run([hot(2)])
    assert run(["report", "explain", "bundled:redis-zipf", "0x4006d47000", "--log", str(bench.path)]) == 2
    assert "of a live run" in capsys.readouterr().err
    assert run(["report", "explain", "-", "0x1000"]) == 2
    assert "add --log FILE.parquet" in capsys.readouterr().err


def test_a_page_a_picture_and_a_table_of_what_became_of_them(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.run([[*hot(2), sightings_of(PID, ONCE)]])
    files = [str(tmp_path / name) for name in ("x.html", "x.svg", "x.csv")]
    outputs = [word for name in files for word in ("-o", name)]
    words = ["report", "explain", "-", "[anon]", "--log", str(bench.path), *outputs]
    assert run(words) == 0, capsys.readouterr().err
    page, picture, table = (Path(name).read_text("utf-8") for name in files)
    for title in ("Accesses that were seen", "Decisions", "In the top tier"):
        assert page.count(f"<h3>{title}</h3>") == 1
    assert "What pghot-default did about it" in page
    for name in ("scripted", "promoted", "left where it was"):
        assert f"<!-- {name} -->" in picture, "a line in the legend"
    rows = list(csv.reader(table.splitlines()))
    assert rows[0][:3] == ["run", "what", "why"]
    assert {row[1] for row in rows[1:]} == {"placed", "promoted", "held"}
    assert run(words) == 2
    assert "use --force" in capsys.readouterr().err


def test_when_they_were_seen_decided_on_and_in_the_top_tier(bench: Bench) -> None:
    """Of 4 rounds the second sees 24 pages, 23 of them twice. At its end, after 200 ms, these are moved."""
    bench.run([[], [*hot(2), sightings_of(PID, ONCE)]], rounds=4)
    log = DecisionLog(bench.path)
    (chain,) = chains_of(log, target_of(log.live(), "[anon]"), 4096)
    assert chain.lasts_ms == 400
    at = int(200 / 400 * BINS)
    times = times_of(chain.logged, ["scripted"], chain.lasts_ms)
    assert times.seen["scripted"].sum() == pytest.approx(23 * 2 + 1)
    assert times.decided[What.PROMOTED].nonzero()[0].tolist() == [at]
    assert times.decided[What.PROMOTED][at] == 23
    assert [panel.title for panel in panels(chain)] == [
        "Accesses that were seen", "Decisions", "In the top tier",
    ]  # fmt: skip
    per_second = panels(chain)[1].lines["promoted"]
    assert per_second[at] == pytest.approx(23 / (0.4 / BINS))
    assert panels(chain)[2].lines["pages"][at] == pytest.approx(100 * 23 / 24)


def test_a_dry_run_shows_what_would_be_moved_and_no_share(bench: Bench) -> None:
    bench.run([[*hot(2)]], apply=False)
    log = DecisionLog(bench.path)
    (chain,) = chains_of(log, target_of(log.live(), "[anon]"), 4096)
    assert [list(panel.lines) for panel in panels(chain)] == [["scripted"], ["would be promoted"]]
