"""Compressed swap as a tier on a real kernel: cold pages go to zram and come back, and no byte is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import Pghot, Program, Where, beside, pghot, report

from pghot.kernel.pagemap import swapped
from pghot.kernel.process_madvise import page_out
from pghot.kernel.sysroot import SysRoot
from waiting import GUARD_S, until

pytestmark = pytest.mark.one_node
ZRAM = Path("/sys/block/zram0")
ZSWAP = Path("/sys/module/zswap/parameters/enabled")
DISK = "/dev/ram0"  # of 16 MiB, as the module makes it
SWAP_KIB = 512 << 10
COLD = ("--compressed", "--cold-after", "4s", "--source", "softdirty", "--set", "softdirty.period_ms=500")


def make_zram(size_kib: int = SWAP_KIB) -> None:
    """A zram device as swap, with mkswap's header written by hand: the guest has no mkswap to rely on."""
    (ZRAM / "reset").write_text("1")
    (ZRAM / "disksize").write_text(f"{size_kib}K")
    swap_on("/dev/zram0", size_kib)


def swap_on(device: str, size_kib: int) -> None:
    subprocess.run(["busybox", "mkswap", device, str(size_kib)], check=True, capture_output=True)
    subprocess.run(["busybox", "swapon", device], check=True, capture_output=True)


def swap_off(device: str) -> None:
    subprocess.run(["busybox", "swapoff", device], check=False, capture_output=True)


@pytest.fixture
def zram() -> Iterator[None]:
    make_zram()
    yield
    swap_off("/dev/zram0")


def out(program: Program) -> Where:
    """Shares of the hot and of the cold pages that are in swap."""
    there, hot = swapped(SysRoot(), program.pid, program.address), program.hot()
    return Where(float(there[hot].mean()), float(there[~hot].mean()))


def goes_out(program: Program, run: Pghot, share: float = 0.95) -> float:
    """Wait until more than so much of what is cold is in swap; returns after how many seconds."""
    return run.until(lambda: out(program).cold > share, f"{share:.0%} of the cold pages out")


def comes_back(program: Program, run: Pghot, share: float) -> float:
    """Wait until no more than so much of what is hot is in swap; returns after how many seconds."""
    return run.until(lambda: out(program).hot <= share, "the hot pages back")


def mm_stat() -> list[int]:
    """Of zram: bytes before and after compression, bytes used for them, and more."""
    return [int(word) for word in (ZRAM / "mm_stat").read_text().split()]


def unchanged(program: Program) -> bool:
    """End the program; it says whether its memory holds what it wrote there."""
    program.signal(signal.SIGTERM)
    answer, _ = program.process.communicate(timeout=GUARD_S)
    return bool(json.loads(answer.splitlines()[-1])["unchanged"])


def run_on(program: Program, journal: Path, *words: str) -> Pghot:
    return Pghot("run", "--apply", "-p", str(program.pid), "--journal", str(journal), "--json", *COLD, *words)


def test_cold_pages_go_to_zram_and_nothing_is_lost(zram: None, tmp_path: Path) -> None:
    """Saving and slowdown in one row; then the hot set moves, and the new one comes back."""
    with (
        Program(64, 0.25, 0, "write", "text", "busy") as yardstick,
        Program(64, 0.25, 0, "write", "text", "busy") as program,
    ):
        for each in (program, yardstick):
            os.sched_setaffinity(each.pid, {1})  # both on one: emulated CPUs are not equally fast
        before = [beside(program, yardstick) for _ in range(2)]
        with run_on(program, tmp_path / "j.pghot-journal") as run:
            goes_out(program, run)
            where, stat = out(program), mm_stat()
            running = [beside(program, yardstick) for _ in range(2)]
            program.signal(signal.SIGUSR1)
            back = comes_back(program, run, 0.05)
            again = goes_out(program, run)
            code, text, err = run.finish()
        ended = [beside(program, yardstick) for _ in range(2)]  # what is out is out still
        assert unchanged(program)
    facts = json.loads(text)
    tier = facts["compressed"]
    report(
        "compressed",
        {
            "program": "64 MiB of words, a quarter written", "swap": "zram lz4",
            "cold_out": where.cold, "hot_out": where.hot,
            "saved_mib": (stat[0] - stat[2]) / (1 << 20), "ratio": stat[0] / stat[2],
            "slowdown": sum(before) / sum(running), "slowdown_untracked": sum(before) / sum(ended),
            "noise": max(max(some) / min(some) for some in (before, running, ended)),
            "new_hot_back_s": back, "old_hot_out_s": again,
            "fetched": tier["fetched_pages"], "faulted": tier["faulted_pages"],
            "own_cpu_share": facts["counters"]["pghot_cpu_seconds"] / facts["seconds"],
        },
    )  # fmt: skip
    assert code == 130, err
    assert where.hot <= 0.01
    assert stat[0] - stat[2] > 0.3 * 48 * (1 << 20)


def test_what_a_slow_program_comes_to_is_fetched_before(zram: None, tmp_path: Path) -> None:
    """It takes eight seconds for the 64 KiB of its new hot set: after the first fault pghot is there before it."""
    with Program(1, 0.0625, 0, "write", "text", "pace=480") as program:
        with run_on(program, tmp_path / "j.pghot-journal", "--cold-after", "20s") as run:
            goes_out(program, run)
            program.signal(signal.SIGUSR1)
            comes_back(program, run, 0)
            _, text, _ = run.finish()
        assert unchanged(program)
    tier = json.loads(text)["compressed"]
    report(
        "compressed",
        {"test": "slow program", "new_hot": int(program.hot().sum()), "fetched": tier["fetched_pages"],
         "faulted": tier["faulted_pages"]},
    )  # fmt: skip
    assert tier["fetched_pages"] >= 0.4 * program.hot().sum()


def test_killed_and_undone(zram: None, tmp_path: Path) -> None:
    """kill -9: undo brings everything back into memory, on its first node, and no byte is lost."""
    journal = tmp_path / "j.pghot-journal"
    with Program(64, 0.25, 0, "write", "calm", "text") as program:
        with run_on(program, journal) as run:
            goes_out(program, run, 0.9)
            run.process.kill()
            run.process.wait()
        code, text, err = pghot("undo", str(journal), "--json")
        assert code == 0, text + err
        assert out(program) == Where(0, 0)
        assert (program.nodes() == 0).all()
        kept = mm_stat()
        assert unchanged(program)
    facts = json.loads(text)
    report(
        "compressed",
        {"test": "kill -9 and undo", **{key: value for key, value in facts.items() if "pages" in key},
         "copies_kept_mib": kept[0] / (1 << 20)},
    )  # fmt: skip
    assert facts["pages_back"] >= 0.9 * 0.75 * program.pages
    assert not facts["pages_left"]


def test_locked_memory_stays_and_is_counted(zram: None, tmp_path: Path) -> None:
    with Program(16, 0.25, 0, "write", "calm", "text", "lock") as program:
        locked = program.pages // 16 * 15
        with run_on(program, tmp_path / "j.pghot-journal") as run:
            there = lambda: swapped(SysRoot(), program.pid, program.address)  # noqa: E731
            cold = ~program.hot()
            run.until(lambda: there()[:locked][cold[:locked]].mean() >= 0.95, "the cold pages out")
            run.goes_on(2)
            assert not there()[locked:].any()
            _, text, _ = run.finish()
    assert json.loads(text)["compressed"]["locked_pages"] == cold[locked:].sum()


def test_a_dry_run_puts_nothing_out(zram: None, tmp_path: Path) -> None:
    with Program(16, 0.25, 0, "write", "calm", "text") as program:
        words = ("-p", str(program.pid), "--json", "--duration", "15s", *COLD)
        code, text, err = pghot("run", *words, "--journal", str(tmp_path / "j.pghot-journal"))
        assert code == 0, err
        assert out(program) == Where(0, 0)
    tier = json.loads(text)["compressed"]
    assert tier["out_pages"] == pytest.approx((~program.hot()).sum(), rel=0.05)
    assert tier["pages"] == 0


@pytest.mark.parametrize("swap", ["none", "disk", "full"])
def test_swap_that_will_not_do_is_exit_3(swap: str, tmp_path: Path) -> None:
    words = {"none": "no swap", "disk": f"{DISK}, which is no compressed memory", "full": "nearly full"}
    with Program(16, 0.25, 0, "text") as program:
        if swap == "disk":
            swap_on(DISK, 16 << 10)
        if swap == "full":
            make_zram(8 << 10)
            program.signal(signal.SIGSTOP)
            page_out(program.pid, program.address)
        code, _, err = pghot("run", "--apply", "-p", str(program.pid), *COLD)
    swap_off(DISK if swap == "disk" else "/dev/zram0")
    assert code == 3, err
    assert words[swap] in err
    assert "hint" in err


def test_a_source_that_cannot_see_the_top_tier_is_refused(zram: None) -> None:
    with Program(16, 0.25, 0) as program:
        code, _, err = pghot("run", "--compressed", "--source", "swapins", "-p", str(program.pid))
    assert code == 2, err
    assert "sees no page of the top tier" in err


def test_an_unprivileged_user_is_told_what_to_add(zram: None) -> None:
    with Program(16, 0.25, 0) as program:
        code, _, err = pghot("run", "-p", str(program.pid), *COLD, nobody=True)
    assert code == 4, err
    assert "CAP_SYS_NICE" in err


def test_zswap_is_a_tier_too(tmp_path: Path) -> None:
    """Before a disk of 16 MiB, to which nothing is written."""
    before = ZSWAP.read_text()
    swap_on(DISK, 16 << 10)
    ZSWAP.write_text("Y")
    try:
        with Program(16, 0.25, 0, "write", "calm", "text") as program:
            with run_on(program, tmp_path / "j.pghot-journal", "--restore") as run:
                goes_out(program, run, 0.9)
                where = out(program)
                _, text, _ = run.finish()
            assert out(program) == Where(0, 0)
            assert unchanged(program)
    finally:
        swap_off(DISK)
        ZSWAP.write_text(before)
    tier = json.loads(text)["compressed"]
    report(
        "compressed",
        {"program": "16 MiB of words", "swap": "zswap lzo", "cold_out": where.cold, "hot_out": where.hot,
         "saved_mib": tier["saved_bytes"] / (1 << 20), "ratio": tier["original_bytes"] / tier["used_bytes"]},
    )  # fmt: skip
    assert tier["kind"] == "zswap"
    assert tier["saved_bytes"] > 0


@pytest.mark.long
def test_a_database_whose_old_rows_are_seldom_asked_for(zram: None, tmp_path: Path) -> None:
    """A real program: its answers stay right; what it saves and costs is reported. Another one beside it, which is not
    tracked, is the yardstick."""
    with Database("program") as database, Database("yardstick") as yardstick:
        before = database.speed(yardstick)
        target = ("-p", str(database.process.pid), "--journal", str(tmp_path / "j"))
        with Pghot("run", "--apply", *target, *COLD, "--cold-after", "6s", "--json") as run:
            run.until(lambda: mm_stat()[0] > 9 << 20, "9 MiB in zram")
            running, stat = database.speed(yardstick), mm_stat()
            code, text, err = run.finish()
        wrong = int(database.progress.read_text().split()[2])
    assert code == 130, err
    tier = json.loads(text)["compressed"]
    report(
        "compressed",
        {"program": "SQLite, 20,000 rows", "swap": "zram lz4", "saved_mib": (stat[0] - stat[2]) / (1 << 20),
         "ratio": stat[0] / max(1, stat[2]), "slowdown": before / running,
         **{key: tier[key] for key in ("out_pages", "fetched_pages", "faulted_pages", "guard_share")}},
    )  # fmt: skip
    assert wrong == 0


class Database:
    """tests/guest/inside/database.py with 20,000 rows."""

    def __init__(self, name: str) -> None:
        self.progress = Path(f"/run/database-{name}")
        command = [sys.executable, str(Path(__file__).with_name("database.py")), "20000", str(self.progress)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        os.sched_setaffinity(self.process.pid, {1})  # both on one: emulated CPUs are not equally fast
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def queries(self) -> tuple[int, float]:
        words = self.progress.read_text().split()
        return int(words[0]), float(words[1])

    def goes_on(self, reports: int) -> None:
        """Wait until it has told its progress so often."""
        told: set[str] = set()

        def enough() -> bool:
            if self.progress.exists():
                told.add(self.progress.read_text())
            return len(told) > reports

        until(enough, f"{reports} reports of the database", lambda: told)

    def speed(self, yardstick: Database) -> float:
        """As `beside`, of queries in a second of the programs' own CPU time."""
        both = (self, yardstick)
        for each in both:
            each.goes_on(1)
        before = [each.queries() for each in both]
        for each in both:
            each.goes_on(6)
        after = [each.queries() for each in both]
        speeds = [(b[0] - a[0]) / (b[1] - a[1]) for a, b in zip(before, after, strict=True)]
        return speeds[0] / speeds[1]

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
