"""Damaged trees of /proc and /sys, as captured: doctor, topology, members, mappings and status read them. A program
whose own files are whole is found all the same."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from builders.live_loop import START, maps_line
from builders.machine_trees import put
from fuzz.harness import Silent
from pghot.errors import PghotError
from pghot.kernel.cgroup import cgroup_of, memory_cgroups, read_limits
from pghot.kernel.file_systems import FileSystems
from pghot.kernel.folios import folio_births, has_large_folios, shmem_folios_on
from pghot.kernel.kvm import programs_with_guests
from pghot.kernel.lru_gen import parse_lru_gen
from pghot.kernel.maps_text import read_maps
from pghot.kernel.mempolicy import read_policies
from pghot.kernel.process import check_target, descendants, read_stat, resident_bytes
from pghot.kernel.process_status import read_status
from pghot.kernel.smaps import mappings_in_use
from pghot.kernel.swap import read_swaps
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.zoneinfo import read_zoneinfo
from pghot.live.doctor import diagnose
from pghot.live.machine.nodes import read_nodes
from pghot.live.machine.spaces import Spaces
from pghot.live.members import Members
from pghot.live.targets import Targets

NAME = "proc_tree"
QUICK = 60
CAPTURED = sorted(
    path for path in (Path(__file__).parents[1] / "captured").iterdir() if (path / "sys").is_dir()
)
WHOLE, DAMAGED = 400, 500
STATUS = "Name:\tprogram\nUmask:\t0022\nTgid:\t{pid}\nUid:\t7\t7\t7\t7\nVmRSS:\t     400 kB\nThreads:\t1\n"
MAPS = [
    maps_line(START, 64),
    maps_line(START + (1 << 30), 8, inode=9, name="/lib/x.so", device="08:01"),
    maps_line(START + (2 << 30), 4, "rw-s", 11, "/dev/shm/y", "00:01"),
    maps_line(START + (3 << 30), 4, name="[stack]"),
]
SMAPS = "\n".join(f"{line}\nSize: 256 kB\nRss: 8 kB\nSwap: 0 kB\nVmFlags: rd wr" for line in MAPS)
SAID = (
    b"-1",
    b"0",
    b"9" * 30,
    b"0x10",
    b"1e9",
    b"\xff\xfe",
    b"\n",
    b" ",
    b"\x0b",
    b"kB",
    b"nan",
    b"",
    b"\0",
    b"0-99999999",
)


@dataclass
class Tree:
    """A tree, and which of its files are damaged."""

    root: Path
    damaged: list[str]


def make(rng: random.Random, folder: Path) -> Tree:
    root = folder / "tree"
    shutil.copytree(rng.choice(CAPTURED), root, symlinks=True)
    put(root, "proc/sys/kernel/pid_max", "32768")
    put(root, "proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 1000 10 100")
    put(root, "sys/fs/cgroup/cgroup.procs", "")
    put(root, "sys/fs/cgroup/a/cgroup.procs", f"{WHOLE}\n{DAMAGED}")
    put(root, "sys/fs/cgroup/a/memory.current", "4096")
    put(root, "sys/fs/cgroup/a/memory.max", "max")
    for pid in (WHOLE, DAMAGED):
        _program(root, pid)
    files = sorted(
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink() and f"proc/{WHOLE}/" not in str(path)
    )
    ours = [name for name in files if f"proc/{DAMAGED}/" in name or "cgroup" in name]
    damaged = sorted({rng.choice(ours if rng.random() < 0.5 else files) for _ in range(rng.randint(0, 6))})
    for name in damaged:
        _damage(rng, root / name)
    return Tree(root, damaged)


def _program(root: Path, pid: int) -> None:
    fields = dict.fromkeys(range(4, 53), 0) | {22: pid, 26: 1, 28: 2, 48: 3}
    numbers = " ".join(str(fields[number]) for number in sorted(fields))
    files = {
        "stat": f"{pid} (program) S {numbers}", "status": STATUS.format(pid=pid), "statm": "1000 100 50 1 0 60 0",
        "maps": "\n".join(MAPS), "smaps": SMAPS, "smaps_rollup": "AnonHugePages: 0 kB", "cmdline": "program\0-x",
        "numa_maps": f"{START:x} default anon=64 N1=64 kernelpagesize_kB=4", "cgroup": "0::/a",
        "mountinfo": "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n22 21 0:22 / /dev/shm rw - tmpfs tmpfs rw",
        f"task/{pid}/children": "",
    }  # fmt: skip
    for name, text in files.items():
        put(root, f"proc/{pid}/{name}", text)


def _damage(rng: random.Random, path: Path) -> None:
    data = path.read_bytes()
    lines, words = data.split(b"\n"), data.split(b" ")
    at = rng.randrange(len(data) + 1)
    ways: list[Callable[[], bytes]] = [
        lambda: b"",
        lambda: data[:at],
        lambda: data[:at] + rng.choice(SAID) + data[at:],
        lambda: data[:at] + rng.randbytes(rng.randint(1, 20)) + data[at:],
        lambda: b" ".join(rng.choice(SAID) if rng.random() < 0.1 else word for word in words),
        lambda: b"\n".join(line for line in lines if rng.random() < 0.7),
        lambda: b"\n".join(rng.sample(lines, len(lines))),
        lambda: data * rng.choice((2, 50)),
        lambda: rng.randbytes(rng.randint(0, 300)),
        lambda: rng.choice(SAID),
    ]
    if rng.random() < 0.1:
        path.unlink()
        if rng.random() < 0.5:
            path.mkdir()
        return
    path.write_bytes(rng.choice(ways)())


def check(made: Tree) -> str:
    root, refused = SysRoot(made.root), False
    readers: list[Callable[[], object]] = [
        lambda: diagnose(root),
        lambda: read_nodes(root),
        lambda: read_zoneinfo(root),
        lambda: read_swaps(root),
        lambda: memory_cgroups(root, "/a"),
        lambda: read_limits(root, "/a"),
        lambda: parse_lru_gen(root.read_or("/sys/kernel/debug/lru_gen")),
        lambda: programs_with_guests(root),
        lambda: (folio_births(root), shmem_folios_on(root)),
        *(lambda read=read: read(root, DAMAGED) for read in _OF_A_PROGRAM),  # type: ignore[misc]
    ]
    for read in readers:
        try:
            read()
        except PghotError as error:
            refused = True
            if not str(error) or not error.hint:
                raise Silent(f"not a line with a remedy: {str(error)!r}") from None
        except (OSError, ValueError) as error:
            if type(error) is ValueError and read is not readers[6]:
                raise
            refused = True  # as its docstring says: it is gone, or not this user's
    tracked = _tracked(root)
    if "sys/fs/cgroup/a/cgroup.procs" not in made.damaged and WHOLE not in tracked["cgroup"]:
        raise Silent(f"a whole program is not found in its cgroup; damaged: {made.damaged}")
    if WHOLE not in tracked["name"]:
        raise Silent(f"a whole program is not found by its name; damaged: {made.damaged}")
    return "refused" if refused else "accepted"


_OF_A_PROGRAM: list[Callable[[SysRoot, int], object]] = [
    read_stat, read_status, check_target, descendants, resident_bytes, cgroup_of, read_maps, read_policies,
    has_large_folios, mappings_in_use,
    lambda root, pid: FileSystems(root).memory(pid, np.array([1, 22], np.uint64)),
]  # fmt: skip


def _tracked(root: SysRoot) -> dict[str, list[int]]:
    """The programs that are tracked, by how they were chosen; a second look goes on from the first."""
    found = {}
    for how, targets in (("cgroup", Targets(cgroups=("/a",))), ("name", Targets(names=("program",)))):
        spaces = Spaces(root, 8)
        try:
            members = Members(root, targets)
            for _ in range(2):
                spaces.refresh(members.now())
            found[how] = [space.pid for space in spaces.spaces]
        finally:
            spaces.stop_asking()
    return found
