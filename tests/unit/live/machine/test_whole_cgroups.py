"""Where the kernel may demote: only where every program is tracked."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.machine_trees import put
from pghot.errors import UnsupportedError
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.whole_cgroups import WholeCgroups, whole_cgroups

OWN = 99
MEMORY = ("a", "a/b", "c")  # cgroups with the memory controller
PROCS = {"": "1\n90", "a": "", "a/b": "10\n11", "a/b/d": "12", "c": f"20\n{OWN}", "e": "30"}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SysRoot:
    monkeypatch.setattr(SysRoot, "own_pid", OWN)
    for group, procs in PROCS.items():
        put(tmp_path, f"sys/fs/cgroup/{group}/cgroup.procs", procs)
        for pid in procs.split():
            put(tmp_path, f"proc/{pid}/cgroup", f"0::/{group}")
    for group in MEMORY:
        put(tmp_path, f"sys/fs/cgroup/{group}/memory.current", "1")
    return SysRoot(tmp_path)


@pytest.mark.parametrize(
    ("pids", "names", "trouble"),
    [
        ([10, 11, 12], ("/a/b",), ""),  # d has no controller: its memory is charged to b
        ([12], (), "their cgroup /a/b has 2 more programs"),
        ([10, 11, 12, 20], ("/a/b", "/c"), ""),  # pghot itself may be there
        ([10, 20], ("/c",), "their cgroup /a/b has 2 more programs"),
        ([30], (), "the kernel counts their memory in no cgroup but the root"),
        ([1], (), "the kernel counts their memory in no cgroup but the root"),
        ([], (), ""),
    ],
)
def test_a_cgroup_is_whole_when_all_its_programs_are_tracked(
    root: SysRoot, pids: list[int], names: tuple[str, ...], trouble: str
) -> None:
    remedy = "; give the programs a cgroup of their own: systemd-run --scope"
    assert whole_cgroups(root, pids) == WholeCgroups(names, trouble and trouble + remedy)


def test_a_program_that_comes_ends_it(root: SysRoot) -> None:
    put(root.root, "sys/fs/cgroup/a/b/cgroup.procs", "10\n11\n13")
    assert whole_cgroups(root, [10, 11, 12]).names == ()
    assert whole_cgroups(root, [10, 11, 12, 13]).names == ("/a/b",)


def test_without_cgroups_of_version_2_it_says_so(tmp_path: Path) -> None:
    put(tmp_path, "proc/10/cgroup", "0::/a")
    put(tmp_path, "sys/fs/cgroup/a/memory.current", "1")
    with pytest.raises(UnsupportedError, match="no cgroup v2"):
        whole_cgroups(SysRoot(tmp_path), [10])
