"""Namespaces as links of a tree: whether pids and cgroups mean the same here as elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.machine_trees import put
from pghot.errors import UsageError
from pghot.kernel.lru_gen import lru_gen_need
from pghot.kernel.namespaces import INITIAL, contained, namespace, notes
from pghot.kernel.sysroot import SysRoot
from pghot.live.damos.damos_needs import damon_needs
from pghot.live.journal_file import JournalFile
from pghot.live.undo import refuse_while_running, same_pids, undo

OURS, THEIRS = "pid:[4026532179]", "pid:[4026532200]"
BOOT = "a-boot"


def tree(place: Path, pid: str = INITIAL["pid"], cgroup: str = INITIAL["cgroup"], **others: str) -> SysRoot:
    """Our own namespaces, and the pid namespaces of other processes (p7="pid:[...]")."""
    put(place, "proc/sys/kernel/random/boot_id", BOOT)
    links_of = {"self": {"pid": pid, "cgroup": cgroup}} | {p[1:]: {"pid": ns} for p, ns in others.items()}
    for who, links in links_of.items():
        (place / f"proc/{who}/ns").mkdir(parents=True)
        for kind, link in links.items():
            (place / f"proc/{who}/ns/{kind}").symlink_to(link)
    return SysRoot(place)


def journal(pid_namespace: str, boot_id: str = BOOT) -> JournalFile:
    return JournalFile(Path("/none/j"), (0, 0), boot_id, (9, 9), pid_namespace)


@pytest.mark.parametrize(
    ("here", "written", "same"),
    [
        (INITIAL["pid"], INITIAL["pid"], True),
        (OURS, OURS, True),
        (INITIAL["pid"], "", True),  # by a pghot that did not write it down
        (INITIAL["pid"], THEIRS, False),
    ],
)
def test_whether_pids_mean_the_same(tmp_path: Path, here: str, written: str, same: bool) -> None:
    assert same_pids(journal(written), tree(tmp_path, here, p7=OURS)) == same


def test_a_container_that_still_runs_or_is_another_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"in a container that still runs \(pid 7 here\)") as caught:
        refuse_while_running(journal(THEIRS), tree(tmp_path / "host", p5=OURS, p7=THEIRS))
    assert "nsenter -t 7" in caught.value.hint
    with pytest.raises(UsageError, match="was not written in this container"):
        refuse_while_running(journal(THEIRS), tree(tmp_path / "container", OURS))
    with pytest.raises(UsageError, match="was not written in this container"):
        refuse_while_running(journal(INITIAL["pid"]), SysRoot(tmp_path / "container"))


def test_of_a_container_that_has_ended_only_knobs_are_left_to_put_back(tmp_path: Path) -> None:
    """Another boot's journal needs nothing at all, whichever namespace it names."""
    root = tree(tmp_path, p7=OURS)
    refuse_while_running(journal(THEIRS), root)
    refuse_while_running(journal(OURS, "another boot"), root)
    again = journal(OURS, "another boot")
    done = undo(again, root)
    assert (
        done.nothing == "the machine was rebooted since the journal was written: nothing is left to put back"
    )
    assert done.processes_gone == []


def test_a_cgroup_namespace_has_other_names_than_the_kernel(tmp_path: Path) -> None:
    inside, outside = tree(tmp_path / "in", OURS, "cgroup:[4026532180]"), tree(tmp_path / "out")
    why = "this is a container with a cgroup namespace of its own"
    assert lru_gen_need(inside).why.startswith(why)
    assert not lru_gen_need(outside).why.startswith(why)
    assert [need.why.startswith(why) for need in damon_needs(inside, by_cgroup=True)].count(True) == 1
    assert not any(need.why.startswith(why) for need in damon_needs(inside, by_cgroup=False))
    assert len(notes(inside)) == 2
    assert notes(outside) == []


def test_a_captured_tree_tells_no_namespaces(tmp_path: Path) -> None:
    root = SysRoot(tmp_path)
    assert namespace(root, "pid") == ""
    assert not contained(root, "cgroup")
    assert same_pids(journal(THEIRS), root)
