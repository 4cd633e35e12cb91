"""Programs by name, user, size and cgroup, with what is left out: who is tracked now, and at what cost."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.machine_trees import put
from pghot.errors import UnsupportedError, UsageError
from pghot.kernel.cgroup_patterns import cgroups_like
from pghot.kernel.process_status import ProgramStatus, read_status
from pghot.kernel.sysroot import SysRoot
from pghot.live import members as members_module
from pghot.live.members import ASK_EVERY, Members
from pghot.live.targets import LeftOut, Targets

MIB = 1 << 20


def program(tree: Path, pid: int, name: str = "server", user: int = 1000, mib: int = 64) -> None:
    text = f"Name:\t{name}\nState:\tS (sleeping)\nUid:\t0\t{user}\t0\t0\nVmRSS:\t   {mib << 10} kB\n"
    put(tree, f"proc/{pid}/status", text)


def cgroup(tree: Path, path: str, *pids: int) -> None:
    """All groups above it are there too, empty unless they were made before."""
    place = tree / "sys/fs/cgroup"
    for name in ["", *path.split("/")]:
        place /= name
        place.mkdir(parents=True, exist_ok=True)
        (place / "cgroup.procs").touch()
    (place / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))


def now(tree: Path, **chosen: object) -> list[int]:
    return sorted(Members(SysRoot(tree), Targets(**chosen)).now())  # type: ignore[arg-type]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Seven programs in four services; 17 is a kernel thread, which has no memory."""
    program(tmp_path, 11, "postgres", user=26, mib=512)
    program(tmp_path, 12, "postgres", user=26, mib=8)
    program(tmp_path, 13, "redis-server", user=27, mib=256)
    program(tmp_path, 14, "bash", user=0, mib=4)
    program(tmp_path, 15, "a-program-with-a", user=0, mib=100)
    put(tmp_path, "proc/17/status", "Name:\tkthreadd\nUid:\t0\t0\t0\t0\n")
    put(tmp_path, "proc/self/status", "")
    cgroup(tmp_path, "system.slice/postgresql.service", 11, 12)
    cgroup(tmp_path, "system.slice/redis.service/shard", 13)
    cgroup(tmp_path, "system.slice/sshd.socket", 14)
    cgroup(tmp_path, "user.slice/a.service", 15)
    return tmp_path


@pytest.mark.parametrize(
    ("chosen", "pids"),
    [
        ({"names": ("postgres",)}, [11, 12]),
        ({"names": ("post*", "bash")}, [11, 12, 14]),
        ({"names": ("post",)}, []),
        ({"users": ("26",)}, [11, 12]),
        ({"users": ("26", "0"), "min_bytes": 100 * MIB}, [11, 15]),
        ({"names": ("postgres",), "users": ("0",)}, []),
        ({"cgroups": ("system.slice/*.service",)}, [11, 12, 13]),
        ({"cgroups": ("/sys/fs/cgroup/*/*.service",)}, [11, 12, 13, 15]),
        ({"cgroups": ("*.service",)}, []),
        ({"cgroups": ("system.slice",), "min_bytes": 9 * MIB}, [11, 13]),
        ({"cgroups": ("system.slice",), "left_out": LeftOut(cgroups=("*/redis.service",))}, [11, 12, 14]),
        ({"min_bytes": 1, "left_out": LeftOut(names=("*s*",))}, [15]),
        ({"min_bytes": 1, "left_out": LeftOut(users=("0", "27"))}, [11, 12]),
        ({"pids": (14,), "children": False, "names": ("redis*",), "left_out": LeftOut(("bash",))}, [13, 14]),
    ],
)
def test_who_fits(tree: Path, chosen: dict[str, object], pids: list[int]) -> None:
    """One of each kind must fit; within a kind any. A `*` of a cgroup stays within a part of the path."""
    assert now(tree, **chosen) == pids


def test_ourselves_are_not_chosen(tree: Path) -> None:
    """Programs of a captured tree are never us, whatever our own number is."""
    with mock.patch.object(os, "getpid", return_value=11):
        assert now(tree, names=("postgres",)) == [11, 12]
    with mock.patch.object(SysRoot, "own_pid", 11):
        assert now(tree, names=("postgres",)) == [12]
        assert now(tree, pids=(11,), children=False) == [11], "unless we are named"


def test_programs_come_end_exec_and_reuse_a_pid(tree: Path) -> None:
    members = Members(SysRoot(tree), Targets(names=("redis*",)))
    assert members.now() == [13]
    program(tree, 18, "redis-cli")
    program(tree, 19, "bash")
    assert sorted(members.now()) == [13, 18]
    program(tree, 19, "redis-check")  # what the shell started
    assert sorted(members.now()) == [13, 18, 19]
    (tree / "proc/18").rename(tree / "gone")  # the inode stays taken
    program(tree, 18, "bash")
    assert sorted(members.now()) == [13, 19], "the pid is another program's"
    (tree / "proc/13").rename(tree / "gone too")
    assert members.now() == [19]


def test_a_program_that_becomes_another_is_noticed_within_ten_looks(tree: Path) -> None:
    members = Members(SysRoot(tree), Targets(names=("redis*",)))
    for _ in range(5):
        assert members.now() == [13]
    program(tree, 13, "bash")
    assert [] in [members.now() for _ in range(ASK_EVERY)]
    assert members.now() == []


def test_a_size_is_kept_to_half(tree: Path) -> None:
    """Chosen at 100 MiB, dropped below 50 MiB: 15 has 100 MiB, and is looked at after 99, 50 and 49."""
    members = Members(SysRoot(tree), Targets(min_bytes=100 * MIB, names=("a-*",)))
    assert members.now() == [15]
    for mib, tracked in ((99, [15]), (50, [15]), (49, []), (99, []), (100, [15])):
        program(tree, 15, "a-program-with-a", mib=mib)
        assert [members.now() for _ in range(ASK_EVERY)][-1] == tracked, mib


def test_asking_a_thousand_programs_takes_a_tenth_at_a_time(tmp_path: Path) -> None:
    """All at the first and the second look, then 100 of 1,000, each once in ten looks; a new one at once."""
    for pid in range(1000, 2000):
        program(tmp_path, pid)
    members = Members(SysRoot(tmp_path), Targets(names=("server",)))
    asked: list[int] = []

    def ask(root: SysRoot, pid: int) -> ProgramStatus | None:
        asked.append(pid)
        return read_status(root, pid)

    with mock.patch.object(members_module, "read_status", ask):
        for expected in (1000, 1000, 100, 100):
            asked.clear()
            assert len(members.now()) == 1000
            assert len(asked) == expected
        asked.clear()
        for _ in range(ASK_EVERY):
            members.now()
        assert sorted(asked) == list(range(1000, 2000))
        program(tmp_path, 2001)
        asked.clear()
        assert 2001 in members.now()
        assert len(asked) == 101


NAME = st.text("ab*?", min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.text("ab", min_size=1, max_size=3), st.integers(0, 2), st.integers(0, 3)), max_size=8
    ),
    st.lists(NAME, max_size=2),
    st.lists(st.integers(0, 2), max_size=2),
    st.integers(0, 3),
    st.lists(NAME, max_size=1),
    st.integers(1, 4),
)
def test_it_chooses_as_a_plain_filter_does(
    tmp_path_factory: pytest.TempPathFactory,
    programs: list[tuple[str, int, int]],
    names: list[str],
    users: list[int],
    mib: int,
    without: list[str],
    looks: int,
) -> None:
    tree = tmp_path_factory.mktemp("proc")
    put(tree, "proc/stat", "")
    for pid, (name, user, size) in enumerate(programs, 10):
        program(tree, pid, name, user, size)
    targets = Targets(
        names=tuple(names),
        users=tuple(map(str, users)),
        min_bytes=mib * MIB,
        left_out=LeftOut(tuple(without)),
    )
    members = Members(SysRoot(tree), targets)
    expected = [
        pid
        for pid, (name, user, size) in enumerate(programs, 10)
        if (not names or any(fnmatchcase(name, each) for each in names))
        and (not users or user in users)
        and size >= mib
        and not any(fnmatchcase(name, each) for each in without)
    ]
    for _ in range(looks):
        assert sorted(members.now()) == (expected if targets.judges else [])


# ---- what is said


def test_what_cannot_be_chosen(tree: Path) -> None:
    root = SysRoot(tree)
    with pytest.raises(UsageError, match="no user 'nobody-at-all'"):
        Members(root, Targets(users=("nobody-at-all",))).check()
    with pytest.raises(UsageError, match="no user 'nobody-at-all'"):
        Targets(names=("a",), left_out=LeftOut(users=("nobody-at-all",))).check(root)
    with pytest.raises(UsageError, match="nothing to track"):
        Targets(left_out=LeftOut(("bash",))).check(root)
    with pytest.raises(UsageError, match="no cgroup /nosuch"):
        Targets(cgroups=("/nosuch",)).check(root)
    Targets(cgroups=("/nosuch*",)).check(root)
    (tree / "sys/fs/cgroup/cgroup.procs").unlink()
    for targets in (Targets(cgroups=("a*",)), Targets(names=("a",), left_out=LeftOut(cgroups=("/a",)))):
        with pytest.raises(UnsupportedError, match="cgroup v2"):
            targets.check(root)


def test_a_threaded_cgroup_among_those_that_fit_is_said(tree: Path) -> None:
    put(tree, "sys/fs/cgroup/system.slice/redis.service/cgroup.type", "threaded")
    targets, root = Targets(cgroups=("system.slice/*.service",)), SysRoot(tree)
    (said,) = targets.troubles(root)
    assert said.startswith("the cgroup /system.slice/redis.service is threaded")
    assert Members(root, targets).now() == [11, 12]


def test_only_whole_cgroups_are_treated_as_one() -> None:
    whole = Targets(cgroups=("/a", "b"))
    assert (whole.whole_cgroups, whole.only_cgroup) == (("/a", "b"), "")
    assert Targets(cgroups=("/a",)).only_cgroup == "/a"
    for targets in (
        Targets(cgroups=("/a*",)),
        Targets(cgroups=("/a",), min_bytes=1),
        Targets(cgroups=("/a",), left_out=LeftOut(("x",))),
    ):
        assert (targets.whole_cgroups, targets.only_cgroup) == ((), "")


def test_a_run_waits_only_for_programs_that_may_come() -> None:
    assert Targets(names=("a",)).fits_some
    assert Targets(cgroups=("a/*",)).fits_some
    assert not Targets(cgroups=("a",), left_out=LeftOut(("x",))).fits_some
    assert not Targets((1,)).fits_some


# ---- what the kernel shows


@pytest.mark.parametrize(
    ("comm", "cmdline", "name"),
    [
        ("short", "/usr/bin/other", "short"),
        ("a-program-with-", "/opt/a-program-with-a-long-name\0-v\0", "a-program-with-a-long-name"),
        ("a-program-with-", "its title", "a-program-with-"),
        ("a-program-with-", "", "a-program-with-"),
    ],
)
def test_a_name_that_the_kernel_cut_is_found_in_the_command_line(
    tmp_path: Path, comm: str, cmdline: str, name: str
) -> None:
    program(tmp_path, 5, comm, user=7, mib=3)
    put(tmp_path, "proc/5/cmdline", cmdline)
    assert read_status(SysRoot(tmp_path), 5) == ProgramStatus(name, 7, 3 * MIB)


def test_cgroups_like_a_path_or_a_pattern(tree: Path) -> None:
    root = SysRoot(tree)
    assert cgroups_like(root, "/system.slice/") == ["/system.slice"]
    assert cgroups_like(root, "system.slice/p*") == ["/system.slice/postgresql.service"]
    assert cgroups_like(root, "*/[rp]*.service/shard") == ["/system.slice/redis.service/shard"]
    assert cgroups_like(root, "system.slice/cgroup.*") == [], "files are no cgroups"
    assert cgroups_like(root, "no/such") == []
