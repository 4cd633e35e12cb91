"""Compressed swap as a tier on a real kernel: cold pages go to zram and come back, and no byte is lost."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import Pghot, Program, Where, report, wait_until

from pghot.kernel.pagemap import swapped
from pghot.kernel.sysroot import SysRoot

pytestmark = pytest.mark.compressed
ZRAM = Path("/sys/block/zram0")
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


def unchanged(program: Program) -> bool:
    """End the program; it says whether its memory holds what it wrote there."""
    program.signal(signal.SIGTERM)
    answer, _ = program.process.communicate(timeout=60)
    return bool(json.loads(answer.splitlines()[-1])["unchanged"])


def run_on(program: Program, journal: Path, *words: str) -> Pghot:
    return Pghot("run", "--apply", "-p", str(program.pid), "--journal", str(journal), "--json", *COLD, *words)


def test_cold_pages_go_to_zram_and_nothing_is_lost(zram: None, tmp_path: Path) -> None:
    """Saving and slowdown in one row; then the hot set moves, and the new one comes back."""
    with Program(128, 0.25, 0, "write", "text") as program:
        before = program.passes_per_s(5)
        with run_on(program, tmp_path / "j.pghot-journal") as run:
            assert wait_until(lambda: out(program).cold >= 0.95, 60) is not None, (
                out(program),
                {
                    k: v
                    for k, v in json.loads(run.finish()[1]).items()
                    if k in ("compressed", "nodes", "moves", "sources")
                },
            )
            where = out(program)
            stat = [int(word) for word in (ZRAM / "mm_stat").read_text().split()]
            beside = program.passes_per_s(5)
            program.signal(signal.SIGUSR1)
            back = wait_until(lambda: out(program).hot <= 0.05, 60)
            again = wait_until(lambda: out(program).cold >= 0.95, 90)
            code, text, err = run.finish()
        after = program.passes_per_s(5)
        assert unchanged(program)
    facts = json.loads(text)
    tier = facts["compressed"]
    report(
        "compressed",
        {
            "swap": "zram lz4", "cold_out": where.cold, "hot_out": where.hot,
            "saved_mib": 128 * 0.75 * where.cold - stat[2] / (1 << 20), "ratio": stat[0] / stat[2],
            "slowdown_while_running": before / beside, "slowdown_after": before / after,
            "new_hot_back_s": back, "old_hot_out_s": again,
            "fetched": tier["fetched_pages"], "faulted": tier["faulted_pages"], "out": tier["out_pages"],
            "own_cpu_share": facts["counters"]["pghot_cpu_seconds"] / facts["seconds"],
        },
    )  # fmt: skip
    assert code == 130, err
    assert where.hot <= 0.01
    assert stat[0] / stat[2] > 1.5
    assert back is not None
    assert tier["saved_bytes"] > 0.3 * 96 * (1 << 20)
