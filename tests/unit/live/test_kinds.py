"""Which kinds of memory a run moves: what was asked for, what this user and the mover can, and virtual machines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builders.machine_trees import put
from pghot.cli.main import run
from pghot.daemon.config import kinds_of, load_config
from pghot.errors import NotPermittedError, UsageError
from pghot.kernel.kvm import programs_with_guests
from pghot.kernel.sysroot import SysRoot
from pghot.live.live_settings import LiveSettings, kinds_here
from pghot.live.machine.kinds import ANON_ONLY, BY_DEFAULT, Kinds
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.targets import Targets

NICE, ADMIN = 1 << 23, 1 << 21


def root_with(tree: Path, capabilities: int) -> SysRoot:
    put(tree, "proc/self/status", f"Name:\tpghot\nCapEff:\t{capabilities:016x}\n")
    return SysRoot(tree)


def settings(kinds: Kinds = BY_DEFAULT, **mover: object) -> LiveSettings:
    return LiveSettings(Targets((1,)), kinds=kinds, mover=MoverSettings.model_validate(mover))


@pytest.mark.parametrize(
    ("held", "lacking"),
    [(NICE, "CAP_SYS_ADMIN"), (ADMIN, "CAP_SYS_NICE"), (0, "CAP_SYS_NICE and CAP_SYS_ADMIN")],
)
def test_shared_memory_takes_rights(tmp_path: Path, held: int, lacking: str) -> None:
    """Without them it is left alone, unless it was asked for."""
    root = root_with(tmp_path, held)
    assert kinds_here(root, settings()) == ANON_ONLY
    named = Kinds.of(["anon", "file"])
    with pytest.raises(NotPermittedError, match=lacking):
        kinds_here(root, settings(named))
    able = root_with(tmp_path, NICE | ADMIN)
    assert kinds_here(able, settings()) == BY_DEFAULT
    assert kinds_here(able, settings(named)) == named
    assert kinds_here(root, settings(Kinds.of(["anon"]))).named, "anonymous memory takes no more than before"


@pytest.mark.parametrize("mover", [{"kind": "damos"}, {"compressed": True}])
def test_damon_and_compressed_swap_take_anonymous_memory_only(
    tmp_path: Path, mover: dict[str, object]
) -> None:
    able = root_with(tmp_path, NICE | ADMIN)
    assert kinds_here(able, settings(**mover)) == ANON_ONLY
    with pytest.raises(UsageError, match="anonymous memory only"):
        kinds_here(able, settings(Kinds.of(["anon", "shmem"]), **mover))


def test_a_kind_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", "-p", str(os.getpid()), "--kinds", "anon,shmen"]) == 2
    assert "did you mean 'shmem'" in capsys.readouterr().err
    assert run(["run", "-p", str(os.getpid()), "--kinds", ""]) == 2
    with pytest.raises(UsageError, match="no kind"):
        Kinds.of([])


def test_kinds_in_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "pghot.toml"
    for line, expected in (("", BY_DEFAULT), ('kinds = ["file", "anon"]', Kinds.of(["anon", "file"]))):
        path.write_text(f"{line}\n[targets]\npids = [1]\n")
        assert kinds_of(load_config(path)) == expected
    path.write_text('apply = true\nkinds = ["anon", "slab"]\n[targets]\npids = [1]\n')
    with pytest.raises(UsageError, match=r"pghot.toml:2: kinds: unknown kind of memory 'slab'"):
        load_config(path)


def test_programs_that_run_virtual_machines_are_known_by_their_cpus(tmp_path: Path) -> None:
    cpu = "7f0000000000-7f0000003000 rw-s 00000000 00:0e 1061 anon_inode:kvm-vcpu:0"
    for pid, maps in ((7, f"{cpu}\n"), (8, cpu.replace("kvm-vcpu:0", "[io_uring]")), (9, "")):
        put(tmp_path, f"proc/{pid}/maps", maps)
    assert programs_with_guests(SysRoot(tmp_path)) == [7]
    assert programs_with_guests(SysRoot(tmp_path / "nothing")) == []
