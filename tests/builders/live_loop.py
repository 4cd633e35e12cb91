"""A small kernel for tests of the live side: programs in a tree of /proc, pages on nodes, move_pages with its refusals.

Two tiers: node 0 is fast, node 1 slow. What is free is in the nodes' meminfo, as the machine reads it.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from builders.machine_trees import NODES, Node, machine, put
from pghot.arrays import I32, U32, U64
from pghot.engine.accesses import Mechanism, Sees
from pghot.errors import UnsupportedError, UsageError
from pghot.kernel.needs import Need
from pghot.kernel.process import Identity, read_stat
from pghot.kernel.process import pids as all_pids
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import FileIdentity, SetKnob, Space, Watched
from pghot.live.journal import Journal
from pghot.live.journal_file import read_journal
from pghot.live.machine.chosen_nodes import AS_THEY_ARE, NodeChoice, choose_nodes
from pghot.live.machine.kinds import BY_DEFAULT, Kinds
from pghot.live.machine.linux import LinuxMachine
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.machine.nodes import read_nodes
from pghot.live.machine.spaces import Spaces
from pghot.live.machine.whole_cgroups import WholeCgroups
from pghot.live.sources import LIVE_SOURCES
from pghot.live.sources.access_source import Sightings

PAGE = 4096
START = 0x7F0000000000  # where programs have their memory: the beginning of a section
MIB_PAGES = 256
HUGE = 512
ALWAYS = 1 << 30
# A page: a process and an address, or a file's name and the number of the page in it.
Page = tuple[int | str, int]
BOOT_ID = "8f5c1a3e-0000-4000-8000-000000000001"


def addresses(first: int, pages: int, start: int = START) -> U64:
    """uint64[pages]: addresses of neighbouring pages, from page `first` of the memory at `start`."""
    return np.uint64(start) + np.arange(first, first + pages, dtype=np.uint64) * np.uint64(PAGE)


def maps_line(
    start: int,
    pages: int,
    permissions: str = "rw-p",
    inode: int = 0,
    name: str = "",
    device: str = "00:00",
    offset: int = 0,
) -> str:
    return f"{start:x}-{start + pages * PAGE:x} {permissions} {offset:08x} {device} {inode} {name}"


class FakeKernel:
    """Holds where each page is. `busy` counts how often a page still refuses; `shared` pages never move.

    moves    the pages of each move_pages call, in order
    fails    errno of every move_pages call on a pid
    huge     one page takes its whole 2 MiB block along
    journal  when set: the file that must name the first node of every page that moves, before it does
    files    which page of which file, by its name, a process has at an address
    """

    def __init__(self, tree: Path, mib: int = 64, free_pages: tuple[int, int] = (8192, 8192)) -> None:
        self.tree, self.mib = tree, mib
        self.root = machine(tree, Node(0, "10 30", "0", mib, 4), Node(1, "30 10", "", mib, 45))
        put(tree, "proc/sys/kernel/pid_max", "32768")
        put(tree, "proc/sys/kernel/random/boot_id", BOOT_ID)
        self.free = list(free_pages)
        self.node: dict[Page, int] = {}
        self.first: dict[Page, int] = {}
        self.busy: dict[Page, int] = {}
        self.shared: set[Page] = set()
        self.moves: list[list[Page]] = []
        self.fails: dict[int, int] = {}
        self.huge = False
        self.files: dict[tuple[int, int], tuple[str, int]] = {}
        self.journal: Path | None = None
        self.lowest_free = list(free_pages)
        self._show_free()

    # ---- programs

    def program(
        self,
        pid: int,
        maps: list[str],
        comm: str = "program",
        start_ticks: int = 100,
        code: int = 1,
        state: str = "S",
        flags: int = 0,
    ) -> None:
        """A process; calling it again changes it: other maps, an exec (code), a reused pid (start_ticks)."""
        fields = dict.fromkeys(range(4, 53), 0) | {9: flags, 22: start_ticks, 26: code, 28: 2, 48: 3}
        numbers = " ".join(str(fields[number]) for number in sorted(fields))
        put(self.tree, f"proc/{pid}/stat", f"{pid} ({comm}) {state} {numbers}")
        put(self.tree, f"proc/{pid}/maps", "\n".join(maps))
        self._lose_memory(pid)
        (self.tree / f"proc/{pid}/pagemap").write_bytes(bytes(8))

    def _lose_memory(self, pid: int) -> None:
        """Whoever has its pagemap open reads nothing any more."""
        pagemap = self.tree / f"proc/{pid}/pagemap"
        if pagemap.exists():
            os.truncate(pagemap, 0)
            pagemap.unlink()

    def exit(self, pid: int) -> None:
        self._lose_memory(pid)
        for name in ("stat", "maps", "numa_maps", "smaps_rollup"):
            (self.tree / f"proc/{pid}/{name}").unlink(missing_ok=True)
        for key in [key for key in self.node if key[0] == pid]:
            self.unmap(key)
        for mapped in [mapped for mapped in self.files if mapped[0] == pid]:
            del self.files[mapped]

    def unmap(self, key: Page) -> None:
        self.free[self.node.pop(key)] += 1
        self._show_free()

    def map_file(self, pid: int, name: str, first: int, pages: int, start: int, node: int) -> None:
        """A process touches pages of a file from `first` on, which it maps at `start`; those that are new come to be
        on a node."""
        for page, address in enumerate(addresses(0, pages, start).tolist(), first):
            self.files[pid, address] = name, page
            if (name, page) not in self.node:
                self.node[name, page] = self.first[name, page] = node
                self.free[node] -= 1
        self._show_free()

    def _page(self, pid: int, address: int) -> Page:
        return self.files.get((pid, address), (pid, address))

    def populate(self, pid: int, first: int, pages: int, node: int, start: int = START) -> None:
        """Pages come to be on a node."""
        for address in addresses(first, pages, start).tolist():
            self.node[pid, address] = self.first[pid, address] = node
            self.free[node] -= 1
        self._show_free()

    def nodes_of(self, pid: int, address: U64) -> list[int]:
        return [self.node[pid, each] for each in address.tolist()]

    # ---- the system call

    def query_nodes(self, pid: int, address: U64) -> I32:
        self._find(pid)
        found = [self.node.get(self._page(pid, each), -errno.ENOENT) for each in address.tolist()]
        return np.array(found, np.int32)

    def move_pages(self, pid: int, address: U64, node: I32, everyone: bool = False) -> I32:
        self._find(pid)
        if pid in self.fails:
            raise OSError(self.fails[pid], os.strerror(self.fails[pid]))
        keys = [self._page(pid, each) for each in address.tolist()]
        assert len(set(keys)) == len(keys), "each page once"
        self.moves.append(keys)
        mapped = Counter(self.files.values())
        status = [
            -errno.EACCES if mapped[key] > 1 and not everyone else self._move_one(key, target)  # type: ignore[index]
            for key, target in zip(keys, node.tolist(), strict=True)
        ]
        self.lowest_free = [min(pair) for pair in zip(self.lowest_free, self.free, strict=True)]
        self._show_free()
        return np.array(status, np.int32)

    def _find(self, pid: int) -> None:
        if not (self.tree / f"proc/{pid}/stat").exists():
            raise OSError(errno.ESRCH, "No such process")

    def _move_one(self, key: Page, target: int) -> int:
        if key not in self.node:
            return -errno.ENOENT
        if key in self.shared:
            return -errno.EACCES
        if self.node[key] == target:
            return target
        if self.busy.get(key, 0):
            self.busy[key] -= 1
            return -errno.EBUSY
        for each in self._folio(key):
            if self.node[each] == target:
                continue
            if not self.free[target]:
                return -errno.ENOMEM
            self._check_journal(each)
            self.free[self.node[each]] += 1
            self.free[target] -= 1
            self.node[each] = target
        return self.node[key]

    def _folio(self, key: Page) -> list[Page]:
        if not self.huge:
            return [key]
        first = key[1] // (HUGE * PAGE) * HUGE * PAGE
        block = [(key[0], first + i * PAGE) for i in range(HUGE)]
        return [each for each in block if each in self.node]

    def _check_journal(self, key: Page) -> None:
        if self.journal is None:
            return
        read = read_journal(self.journal)
        for entry in (*read.spaces, *read.files):
            address, node = entry.origins()
            who, unit = (
                (entry.name, PAGE) if isinstance(entry.identity, FileIdentity) else (entry.identity.pid, 1)
            )
            known = dict(zip(address.tolist(), node.tolist(), strict=True))
            if who == key[0] and known.get(key[1] * unit) == self.first[key]:
                return
        raise AssertionError(f"page {key[1]:#x} of {key[0]} moves and the journal does not know from where")

    def _show_free(self) -> None:
        for node, free in enumerate(self.free):
            text = f"Node {node} MemTotal: {self.mib << 10} kB\nNode {node} MemFree: {free * 4} kB"
            put(self.tree, f"{NODES}/node{node}/meminfo", text)


def install(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the mover and the undo call this kernel."""
    for module in ("pghot.live.machine.placement", "pghot.live.machine.mover", "pghot.live.undo"):
        monkeypatch.setattr(f"{module}.query_nodes", kernel.query_nodes)
    for module in ("pghot.live.machine.mover", "pghot.live.undo"):
        monkeypatch.setattr(f"{module}.move_pages", kernel.move_pages)


def one_program(root: Path, monkeypatch: pytest.MonkeyPatch, pid: int, pages: int) -> FakeKernel:
    """A kernel in place of ours, with a program that has so many pages at `START`, all on node 1."""
    kernel = FakeKernel(root)
    kernel.program(pid, [maps_line(START, pages)])
    kernel.populate(pid, 0, pages, 1)
    install(kernel, monkeypatch)
    return kernel


@contextmanager
def mover(
    kernel: FakeKernel,
    sections: int = 4,
    cgroups: tuple[str, ...] = (),
    apply: bool = True,
    nodes: NodeChoice = AS_THEY_ARE,
    unseen_is_cold: bool = True,
    pids: Sequence[int] | None = None,
    kinds: Kinds = BY_DEFAULT,
    **settings: object,
) -> Iterator[tuple[LinuxMachine, Spaces]]:
    """A machine over this kernel with a real journal. Programs are tracked (`pids` only); it is half a second old, at
    10 s."""
    settings = {"rate_limit_mb_s": 1000.0, **settings}
    spaces = Spaces(kernel.root, sections, kinds)
    spaces.refresh(all_pids(kernel.root) if pids is None else pids)
    with Journal(kernel.tree / "j.pghot-journal", kernel.root) as journal:
        kernel.journal = journal.path
        made = LinuxMachine(
            kernel.root,
            choose_nodes(kernel.root, read_nodes(kernel.root), nodes),
            spaces,
            MoverSettings.model_validate(settings),
            apply=apply,
            journal=journal,
            now_ns=9_500_000_000,
            unseen_is_cold=unseen_is_cold,
            cgroups=lambda: WholeCgroups(cgroups),
            set_knob=kernel.root.write,
        )
        made.tick(10 * 10**9)
        yield made, spaces


def seen(machine_: LinuxMachine, spaces: Spaces, pid: int, address: U64, count: int = 1) -> U32:
    """Dense pages of addresses that a source saw just now; where they are is known then."""
    page, movable = spaces.lookup(np.full(len(address), pid, np.int32), address)
    page = page[movable]
    machine_.locate(page)
    spaces.pages.saw(page, np.full(len(page), count, np.uint32))
    return page


def set_ages(spaces: Spaces, page: U32, ages: list[int]) -> None:
    """The pages were last seen so many ageing periods ago each."""
    for i, age in enumerate(ages):
        spaces.pages.set_age(page[i : i + 1], age)


def space_of(pid: int, number: int = 1, start_ticks: int = 100, name: str = "program") -> Space:
    """An address space as the journal needs it; its identity is that of `FakeKernel.program`."""
    none = np.empty(0, np.uint64)
    return Space(number, Identity(pid, start_ticks, (1, 2, 3)), name, none, none)


def identity_of(kernel: FakeKernel, pid: int) -> Identity:
    return read_stat(kernel.root, pid).identity


class Scripted:
    """A live source of another package. `says` are its sightings, one entry a poll; `order` is what was called.

    wrong    what it finds wrong now; `register` makes it a list of the test's own
    vanishes  the cgroup is gone again whenever it is opened anew
    """

    name = "scripted"
    summary = "for tests"
    mechanism: Mechanism = "page-table scan"
    inline = False
    released = True
    weight = 1
    sees: Sees = "any"
    only_reads = False
    says: list[list[Sightings]]
    order: list[str]
    efforts: list[float]
    watched: list[Watched]
    wrong: list[str]
    fails = ""
    vanishes = False

    def __init__(self, root: SysRoot, knob: str = "", speed: int = 1) -> None:
        self._knob = knob

    def needs(self) -> list[Need]:
        return [Need("a test")]

    def start(self, watched: Watched, set_knob: SetKnob) -> None:
        self.order.append("start")
        self.watched.append(watched)
        if self._knob:
            set_knob(self._knob, "2")
        if self.fails:
            raise UnsupportedError(self.fails)

    def reopen(self, watched: Watched) -> None:
        self.order.append("reopen")
        if self.vanishes:
            raise UsageError(f"no cgroup {watched.cgroup}")

    def watch(self, watched: Watched) -> None:
        self.watched.append(watched)

    def poll(self, now_ms: int) -> Sequence[Sightings]:
        return self.says.pop(0) if self.says else []

    def set_effort(self, share: float) -> None:
        self.efforts.append(share)

    def sampling(self) -> str:
        return "what the test says"

    def counters(self) -> dict[str, int]:
        return {}

    def degraded(self) -> list[str]:
        return list(self.wrong)

    def stop(self) -> None:
        self.order.append("stop")


def register(monkeypatch: pytest.MonkeyPatch) -> type[Scripted]:
    """A `Scripted` with lists of its own, under its name among the live sources, as by an entry point."""
    source = type("Fresh", (Scripted,), {"says": [], "order": [], "efforts": [], "watched": [], "wrong": []})

    class Point:
        name = "scripted"
        value = "of the tests"
        dist = None

        def load(self) -> type[Scripted]:
            return source

    monkeypatch.setattr(LIVE_SOURCES, "_points", lambda: {"scripted": Point()})
    return source
