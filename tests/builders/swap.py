"""Compressed swap beside the small kernel of `live_builders`: /proc/swaps, zram's mm_stat, pagemap, process_madvise."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from builders.live_loop import U64, FakeKernel, install
from builders.machine_trees import put
from pghot.kernel.pagemap import PRESENT, SWAPPED
from pghot.live.journal import Journal
from pghot.live.machine.linux import LinuxMachine
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.machine.nodes import read_nodes
from pghot.live.machine.spaces import Spaces
from pghot.live.swap_tier.swap_space import find_compressed_swap
from pghot.live.swap_tier.tier import CompressedTier, with_compressed

PAGE = 4096
RATIO = 4  # a page of 4096 bytes takes 1024
NO_RIGHTS, ALL_RIGHTS = "CapEff:\t0000000000000000", "CapEff:\t000001ffffffffff"


def swaps(tree: Path, *areas: tuple[str, int, int, int]) -> None:
    """/proc/swaps: path, pages, used pages, priority."""
    lines = ["Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority"]
    lines += [f"{path} partition\t{size * 4}\t{used * 4}\t{level}" for path, size, used, level in areas]
    put(tree, "proc/swaps", "\n".join(lines))


def can_swap(tree: Path, release: str = "6.12.0", rights: str = ALL_RIGHTS) -> None:
    """What else the mover needs."""
    put(tree, "proc/sys/kernel/osrelease", release)
    put(tree, "proc/self/status", rights)


class SwapKernel(FakeKernel):
    """With zram swap of `swap_pages`. Pages in `out` are there; `locked` and `passed_over` ones never go."""

    def __init__(self, tree: Path, swap_pages: int = 4096) -> None:
        super().__init__(tree)
        self.swap_pages = swap_pages
        self.out: dict[tuple[int, int], int] = {}
        self.locked: set[tuple[int, int]] = set()
        self.passed_over: set[tuple[int, int]] = set()
        self.advised: list[tuple[str, int]] = []
        can_swap(tree)
        put(tree, "proc/meminfo", "MemTotal: 131072 kB\nMemAvailable: 65536 kB")
        self._show_swap()

    def page_out(self, pid: int, address: U64) -> np.ndarray:
        self._find(pid)
        assert (np.diff(address.astype(np.int64)) > 0).all(), "ascending"
        self.advised.append(("out", len(address)))
        status = np.zeros(len(address), np.int32)
        for i, each in enumerate(address.tolist()):
            key = (pid, each)
            if key in self.locked:
                status[i] = -errno.EINVAL
            elif key in self.node and key not in self.passed_over and len(self.out) < self.swap_pages:
                self._check_journal(key)
                self.out[key] = self.node.pop(key)
                self.free[self.out[key]] += 1
        self._show_swap()
        self._show_free()
        return status

    def bring_back(self, pid: int, address: U64) -> None:
        """Onto node 0, where the caller runs."""
        self._find(pid)
        self.advised.append(("back", len(address)))
        for each in address.tolist():
            self.touch((pid, each))

    def touch(self, key: tuple[int, int]) -> None:
        """A page comes back, if it is out."""
        if self.out.pop(key, None) is not None:
            self.node[key] = 0
            self.free[0] -= 1
        self._show_swap()
        self._show_free()

    def show_pagemap(self, pid: int) -> None:
        """/proc/PID/pagemap as it is now; a hole wherever nothing is."""
        entries = {key[1]: PRESENT for key in self.node if key[0] == pid}
        entries |= {key[1]: SWAPPED for key in self.out if key[0] == pid}
        with open(self.tree / f"proc/{pid}/pagemap", "r+b") as file:
            for address, entry in entries.items():
                os.pwrite(file.fileno(), np.uint64(entry).tobytes(), address // PAGE * 8)

    def _show_swap(self) -> None:
        used = len(self.out)
        swaps(self.tree, ("/dev/zram0", self.swap_pages, used, 100))
        compressed = used * PAGE // RATIO
        put(
            self.tree,
            "sys/block/zram0/mm_stat",
            f" {used * PAGE} {compressed} {compressed} 0 {compressed} 0 0 0 0",
        )
        for pid in {key[0] for key in (*self.node, *self.out)}:
            if (self.tree / f"proc/{pid}/pagemap").exists():
                self.show_pagemap(pid)


def install_swap(kernel: SwapKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    install(kernel, monkeypatch)
    monkeypatch.setattr("pghot.live.swap_tier.tier.page_out", kernel.page_out)
    for module in ("pghot.live.swap_tier.tier", "pghot.live.swap_tier.fetch_back"):
        monkeypatch.setattr(f"{module}.bring_back", kernel.bring_back)


@contextmanager
def compressing(
    kernel: SwapKernel, apply: bool = True, **settings: object
) -> Iterator[tuple[LinuxMachine, Spaces]]:
    """A machine with zram as its third tier (node 2), programs surveyed, cold after 4 s; half a second old, at 10 s."""
    given = {"rate_limit_mb_s": 1000.0, "compressed": True, "cold_after_s": 4.0, **settings}
    spaces = Spaces(kernel.root, 4)
    spaces.refresh(int(name) for name in kernel.root.list("/proc") if name.isdigit())
    nodes, swap = read_nodes(kernel.root), find_compressed_swap(kernel.root)
    assert swap is not None
    with Journal(kernel.tree / "j.pghot-journal", kernel.root) as journal:
        kernel.journal = journal.path
        made = LinuxMachine(
            kernel.root,
            with_compressed(nodes, swap),
            spaces,
            MoverSettings.model_validate(given),
            apply=apply,
            journal=journal,
            now_ns=9_500_000_000,
            tier=CompressedTier(kernel.root, swap, len(nodes.rank)),
        )
        journal.compressed(2)
        made.tick(10 * 10**9)
        for space in spaces.spaces:
            list(made.survey(space))
        yield made, spaces


def pass_time(machine: LinuxMachine, seconds: float, from_s: float = 10.0, step_s: float = 0.5) -> float:
    """Rounds without a policy, from `from_s`; returns when it is then."""
    for i in range(1, int(seconds / step_s) + 1):
        machine.tick(int((from_s + i * step_s) * 1e9))
        machine.demote_cold()
    return from_s + seconds
