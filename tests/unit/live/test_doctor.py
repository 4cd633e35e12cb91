"""`pghot doctor` on trees of real kernels, through the command itself, and as a user without rights."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builders.machine_trees import CAPTURED, NODES, Node, captured, machine, put
from builders.plugged import install
from pghot.cli.main import run
from pghot.kernel.kconfig import read_config
from pghot.kernel.needs import Need
from pghot.kernel.sysroot import SysRoot
from pghot.live.doctor import Finding, diagnose, with_config
from pghot.live.sources import LIVE_SOURCES
from pghot.report.findings import render_doctor

TREES = sorted(path.name for path in CAPTURED.iterdir() if (path / "proc").is_dir())
CONFIG = gzip.compress(b"CONFIG_NUMA=y\n" * 9, mtime=0)  # the same bytes in every process: they name a test
MOVERS = [
    "move_pages", "shared", "memory.reclaim", "demotion", "lru_gen", "compressed", "damos", "numa_balancing",
]  # fmt: skip


def verdicts(facts: dict[str, Any], kind: str) -> dict[str, str]:
    return {finding["name"]: finding["verdict"] for finding in facts[kind]}


def unmet(facts: dict[str, Any], kind: str, name: str) -> list[dict[str, str]]:
    found = next(finding for finding in facts[kind] if finding["name"] == name)
    return [need for need in found["needs"] if need["verdict"] != "yes"]


@pytest.mark.parametrize("name", TREES)
def test_the_text_fits_80_columns_and_names_everything(name: str) -> None:
    facts = diagnose(captured(name))
    lines = render_doctor(facts).splitlines()
    assert [line for line in lines if len(line) > 80] == []
    for finding in [*facts["sources"], *facts["movers"]]:
        assert any(line.split() == [finding["name"], *finding["verdict"].split()] for line in lines)


def test_gpu_memory_and_named_nodes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sockets = Node(0, "10 40 80 80", "0"), Node(8, "40 10 80 80", "1")
    machine(tmp_path, *sockets, Node(254, "80 80 10 80"), Node(255, "80 80 80 10"))
    doctor = ["doctor", "--root", str(tmp_path), "--json"]
    assert run(doctor) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [node["tier"] for node in facts["nodes"]] == [0, 0, None, None]
    why = "it looks like memory of a GPU: no CPUs, and all other nodes at the one distance 80"
    assert f"nodes 254 and 255 are left out: {why}" in facts["notes"]
    assert facts["nodes"][-1]["free_bytes"] == 512 << 20
    assert run([*doctor, "--slow-nodes", "255", "--fast-nodes", "0"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["tiers_from"] == "named"
    assert [node["tier"] for node in facts["nodes"]] == [0, None, None, 1]
    assert f"node 254 is left out: {why}" in facts["notes"]
    assert run([*doctor, "--fast-nodes", "7"]) == 2
    assert "node 7, named fast, is no memory node" in capsys.readouterr().err


def test_every_registered_source_and_every_mover_is_judged() -> None:
    facts = diagnose(captured("two-tiers-6.12"))
    assert list(verdicts(facts, "sources")) == LIVE_SOURCES.names()
    assert list(verdicts(facts, "movers")) == MOVERS


def test_a_guest_with_two_tiers_can_move_in_every_way_but_has_no_swap() -> None:
    facts = diagnose(captured("two-tiers-6.12"))
    assert {name for name, verdict in verdicts(facts, "movers").items() if verdict != "yes"} == {"compressed"}
    assert unmet(facts, "movers", "compressed")[0]["why"] == "no swap is in use"
    assert facts["tiers_from"] == "memory_tiering"
    slow = facts["nodes"][1]
    assert (slow["tier"], slow["memory_tier"], slow["promotion_targets"]) == (1, 72, [0])
    assert slow["access"]["read_latency_ns"] == 40


def test_without_a_second_tier_nothing_moves_and_the_reason_is_said_once() -> None:
    facts = diagnose(captured("one-node-6.18"))
    assert set(verdicts(facts, "movers").values()) == {"unsupported"}
    assert render_doctor(facts).count("all but compressed: this machine has one memory node") == 1


def test_the_last_line_says_what_can_be_done_here_and_what_not_and_why() -> None:
    two = diagnose(captured("two-tiers-6.12"))
    assert two["conclusion"] == (
        "Here pghot can compare policies in the lab, see accesses (faults) and move pages between tiers; "
        "it cannot put cold pages into compressed swap (no swap is in use)."
    )
    one = diagnose(captured("one-node-6.18"))
    assert one["conclusion"] == (
        "Here pghot can compare policies in the lab; it cannot see accesses (this machine has one memory node), "
        "move pages between tiers (this machine has one memory node) or "
        "put cold pages into compressed swap (no swap is in use)."
    )
    for facts in (one, two):
        last = render_doctor(facts).rsplit("\n\n", 1)[1]
        assert " ".join(last.split()) == facts["conclusion"]


def test_hint_faults_alone_make_no_room_without_the_multi_gen_lru(tmp_path: Path) -> None:
    tree = shutil.copytree(captured("two-tiers-6.12").root, tmp_path / "tree")
    (tree / "sys/kernel/mm/lru_gen/enabled").write_text("0x0000")
    assert (
        "it cannot make room on a full fast node, where faults sees nothing (the multi-gen LRU is switched off) or "
        in diagnose(SysRoot(tree))["conclusion"]
    )


def test_two_sockets_are_told_from_one_node(tmp_path: Path) -> None:
    root = machine(tmp_path, Node(0, "10 21", "0-7", tier=4), Node(1, "21 10", "8-15", tier=4))
    assert unmet(diagnose(root), "movers", "demotion")[0]["why"] == "2 memory nodes, all in one tier"


def test_damos_needs_6_11_and_the_version_is_in_the_remedy() -> None:
    needs = unmet(diagnose(captured("two-tiers-6.1")), "movers", "damos")
    assert needs[0]["why"] == "Linux 6.1 has none"
    assert "6.11" in needs[0]["remedy"]


@pytest.mark.parametrize(("types", "met"), [(b"\0DAMOS_MIGRATE_HOT\0", True), (b"\0DAMOS_PAGEOUT\0", False)])
def test_a_kernel_that_names_its_types_is_asked_and_its_version_is_not(
    types: bytes, met: bool, tmp_path: Path
) -> None:
    """5.14 of an enterprise distribution may have what is in 6.11, and a 6.12 may have been built without it."""
    for release in ("5.14.0-503.11.1.el9_5.x86_64", "6.12.0"):
        root = machine(
            tmp_path / release, Node(0, "10 30", "0-7", tier=4), Node(1, "30 10", tier=72), release=release
        )
        put(tmp_path / release, "sys/kernel/btf/vmlinux", "")
        (tmp_path / release / "sys/kernel/btf/vmlinux").write_bytes(b"BTF" + types)
        lacking = [need["what"] for need in unmet(diagnose(root), "movers", "damos")]
        assert ("DAMOS actions migrate_hot and migrate_cold" not in lacking) is met


def test_nodes_whose_hint_faults_the_kernel_does_not_give_are_named() -> None:
    """On 6.1 the slow node is in the kernel's top tier; with three tiers the DRAM in the middle is."""
    assert any("node 1 top tier too" in note for note in diagnose(captured("two-tiers-6.1"))["notes"])
    assert any("node 0 top tier too" in note for note in diagnose(captured("three-tiers-6.12"))["notes"])
    assert diagnose(captured("two-tiers-6.12"))["notes"] == []


def test_gaps_and_nodes_without_memory_are_shown(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        Node(0, "10 20 30", "0-3", tier=4),
        Node(2, "20 10 40", "4-7", mib=0),
        Node(5, "30 40 10", tier=22),
    )
    facts = diagnose(root)
    assert [(node["node"], node["tier"]) for node in facts["nodes"]] == [(0, 0), (2, None), (5, 1)]
    lines = render_doctor(facts).splitlines()
    assert "        5   30   40   10" in lines
    assert "   -    2 4-7              0 B        0 B  -" in lines


# ---- rights, configuration, broken things


def without_rights(tmp_path: Path) -> SysRoot:
    shutil.copytree(CAPTURED / "two-tiers-6.12", tmp_path / "tree")
    put(tmp_path / "tree", "proc/self/status", "CapEff:\t0000000000000000")
    return SysRoot(tmp_path / "tree")


def test_missing_capabilities_are_named_with_the_command(tmp_path: Path) -> None:
    facts = diagnose(without_rights(tmp_path))
    assert verdicts(facts, "movers")["move_pages"] == "not permitted"
    assert verdicts(facts, "sources")["faults"] == "not permitted"
    need = unmet(facts, "movers", "move_pages")[0]
    assert "CAP_SYS_PTRACE" in need["why"]
    assert "setpriv" in need["remedy"]


@pytest.mark.parametrize(
    ("mounted", "remedy"), [((), "mount -t cgroup2"), (("memory", "unified"), "unified_cgroup_hierarchy=1")]
)
def test_cgroup_v1_is_not_to_be_hidden_by_a_mount(
    mounted: tuple[str, ...], remedy: str, tmp_path: Path
) -> None:
    root = machine(tmp_path, Node(0, "10 20", "0", 64, 4), Node(1, "20 10", "", 64, 45))
    for each in mounted:
        put(tmp_path, f"sys/fs/cgroup/{each}/tasks", "")
    assert remedy in unmet(diagnose(root), "movers", "memory.reclaim")[0]["remedy"]


def test_other_base_pages_than_4_kib_are_no_machine_for_pghot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 1 << 16}[name])
    facts = diagnose(SysRoot())
    for kind in ("sources", "movers"):
        assert set(verdicts(facts, kind).values()) == {"unsupported"}
    assert "base pages are 64" in unmet(facts, "movers", "move_pages")[0]["why"]
    assert run(["run", "--source", "softdirty", "-p", str(os.getpid())]) == 3
    assert "live: this kernel's base pages are 64" in capsys.readouterr().err


@pytest.mark.parametrize(("kib", "said"), [(4, ""), (16, "16.0 KiB"), (64, "64.0 KiB")])
def test_a_captured_tree_tells_the_size_of_its_base_pages(kib: int, said: str, tmp_path: Path) -> None:
    """1 GiB of node 0 is so many managed pages in its zones, less what the kernel's rounding makes of it."""
    root = machine(tmp_path, Node(0, "10 20", "0-3"), Node(1, "20 10"))
    zones = root.read("/proc/zoneinfo").replace("managed  262144", f"managed  {(1 << 20) // kib - 3}")
    put(tmp_path, "proc/zoneinfo", zones)
    facts = diagnose(root)
    why = [need["why"] for need in unmet(facts, "movers", "move_pages")]
    assert any(f"base pages are {said}, and pghot knows 4.0 KiB only" in each for each in why) == bool(said)
    assert ("base pages are" in facts["conclusion"]) == bool(said)


def test_unsupported_is_worse_than_not_permitted() -> None:
    needs = (Need("a"), Need("b", "unsupported", "x"), Need("c", "not permitted", "y"))
    assert Finding("n", "", needs).verdict == "unsupported"
    assert Finding("n", "", needs[:1]).verdict == "yes"
    assert Finding("n", "", ()).verdict == "yes"


@pytest.mark.parametrize("path", ["proc/config.gz", "boot/config-6.12.0"])
def test_the_kernel_configuration_says_what_is_missing(path: str, tmp_path: Path) -> None:
    text = "CONFIG_DAMON=y\n# CONFIG_IDLE_PAGE_TRACKING is not set\nCONFIG_MEM_SOFT_DIRTY=y\n"
    root = machine(tmp_path, Node(0, "10", "0"))
    put(tmp_path, path, "")
    root.path(path).write_bytes(gzip.compress(text.encode()) if path.endswith("gz") else text.encode())
    config = read_config(root)
    assert config.path == f"/{path}"
    needs = (
        Need("idle", "unsupported", "no bitmap", "a kernel with CONFIG_IDLE_PAGE_TRACKING=y"),
        Need("dirty", "unsupported", "no bits", "a kernel with CONFIG_MEM_SOFT_DIRTY=y"),
        Need("met", "yes", "", "CONFIG_NUMA"),
    )
    assert [need.why for need in with_config(needs, config)] == [
        "no bitmap (CONFIG_IDLE_PAGE_TRACKING is not set)",
        "no bits (CONFIG_MEM_SOFT_DIRTY=y is set)",
        "",
    ]


@pytest.mark.parametrize("content", [b"not gzip", CONFIG[:-9], CONFIG[:14] + b"\xff" * 20, b""])
def test_a_damaged_configuration_is_as_good_as_none(content: bytes, tmp_path: Path) -> None:
    put(tmp_path, "proc/config.gz", "")
    (tmp_path / "proc/config.gz").write_bytes(content)
    assert read_config(SysRoot(tmp_path)).path == ""


def test_a_source_that_cannot_be_built_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, {"pghot.live_sources": {"broken": "broken:X"}}, broken="import no_such")
    facts = diagnose(captured("two-tiers-6.12"))
    assert verdicts(facts, "sources")["broken"] == "unsupported"
    assert verdicts(facts, "sources")["replay"] == "yes"
    assert "ModuleNotFoundError" in unmet(facts, "sources", "broken")[0]["why"]


# ---- the command


def test_json_through_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json", "--root", str(CAPTURED / "three-tiers-6.12")]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["schema"] == "pghot.doctor/1"
    assert facts["kernel"].startswith("6.12")
    assert facts["captured_tree"].endswith("three-tiers-6.12")
    assert [node["tier"] for node in facts["nodes"]] == [1, 0, 2]


def test_an_empty_tree_is_a_finding_not_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "note: no memory nodes in /sys/devices/system/node" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("name", [f"{NODES}/has_memory", "sys/devices/system/memory/block_size_bytes"])
def test_garbage_ends_with_0_too(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine(tmp_path, Node(0, "10", "0"))
    put(tmp_path, name, "nonsense")
    assert run(["doctor", "--root", str(tmp_path)]) == 0
    assert "movers" in capsys.readouterr().out


def test_no_such_tree_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--root", "/no/such/tree"]) == 2
    assert "no directory '/no/such/tree'" in capsys.readouterr().err


def test_colour_is_for_terminals_only() -> None:
    facts = diagnose(captured("two-tiers-6.12"))
    assert "\x1b[32myes\x1b[0m" in render_doctor(facts, colour=True)
    assert "\x1b" not in render_doctor(facts)


def doctor_here(tmp_path: Path, *before: str) -> subprocess.CompletedProcess[str]:
    """The command on this machine, in a process of its own with a cache that anybody may write."""
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    code = "from pghot.cli.main import main; main()"
    return subprocess.run(
        [*before, sys.executable, "-c", code, "doctor", "--json"],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)}, cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_this_machine(tmp_path: Path) -> None:
    done = doctor_here(tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert sum(node["size_bytes"] for node in facts["nodes"]) > 0 or facts["notes"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv")
def test_a_user_without_rights_gets_the_same_facts_and_fewer_yes() -> None:
    """In /tmp itself: pytest's directories are closed to other users."""
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        if subprocess.run([*nobody, sys.executable, "-c", ""], capture_output=True).returncode:
            pytest.skip("no Python that another user may run: this one is in a closed directory")
        done = doctor_here(Path(place), *nobody)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    sizes = {node["node"]: node["size_bytes"] for node in facts["nodes"]}
    assert sizes == {node["node"]: node["size_bytes"] for node in diagnose(SysRoot())["nodes"]}
    needs = unmet(facts, "movers", "move_pages")
    assert any(need["verdict"] == "not permitted" and "CAP_SYS_PTRACE" in need["why"] for need in needs)


def test_what_is_heavy_and_not_needed_stays_out() -> None:
    code = (
        "import sys; from pghot.cli.main import run; assert run(['doctor', '--json']) == 0;"
        "print([n for n in ('pyarrow', 'pandas', 'plotly') if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
