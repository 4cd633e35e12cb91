"""Out of descriptors or memory: no answer about a program, so never its end."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from builders.scarcity import no_descriptors
from pghot.kernel import (
    cgroup,
    folios,
    kconfig,
    kpageflags,
    kvm,
    map_files,
    mempolicy,
    process,
    process_status,
)
from pghot.kernel.maps import read_maps_text
from pghot.kernel.pagemap import OpenPagemap, anonymous_now, clear_soft_dirty, flagged, frames_of, swapped
from pghot.kernel.perf_event import SW_PAGE_FAULTS, TYPE_SOFTWARE, EventSpec, open_on_all_cpus
from pghot.kernel.process_memory import read_pages
from pghot.kernel.shortage import HOLD_MS, ShortageError, Shortages
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import FileIdentity
from pghot.live.machine.census import Census
from pghot.live.mapped_files import find_mapped

ME = os.getpid()
ADDRESS = np.array([4096], np.uint64)

ASKING: dict[str, Callable[[SysRoot], object]] = {
    "stat": lambda root: process.read_stat(root, ME),
    "alive": lambda root: process.alive(root, process.Identity(ME, 1, (1, 2, 3))),
    "ended": lambda root: process.ended(root, process.Identity(ME, 1, (1, 2, 3))),
    "check_target": lambda root: process.check_target(root, ME),
    "running": process.running,
    "pids": process.pids,
    "threads": lambda root: process.threads_of(root, ME),
    "descendants": lambda root: process.descendants(root, ME),
    "resident": process.resident_bytes,
    "status": lambda root: process_status.read_status(root, ME),
    "status field": lambda root: process_status.status_field(root, ME, "Tgid"),
    "maps": lambda root: read_maps_text(root, ME),
    "policies": lambda root: mempolicy.read_policies(root, ME),
    "large folios": lambda root: folios.has_large_folios(root, ME),
    "guests": kvm.programs_with_guests,
    "cgroup of": lambda root: cgroup.cgroup_of(root, ME),
    "cgroup members": lambda root: cgroup.cgroup_members(root, "/"),
    "mapped file": lambda root: map_files.open_mapped(root, ME, 0, 4096),
    "mapped files": lambda root: find_mapped(root, [FileIdentity(1, 2, 3)]),
    "pagemap": lambda root: OpenPagemap(root, ME),
    "frames": lambda root: frames_of(root, ME, ADDRESS),
    "flagged": lambda root: flagged(root, ME, 0, 4096, 1),
    "swapped": lambda root: swapped(root, ME, ADDRESS),
    "copies": lambda root: anonymous_now(root, ME, ADDRESS),
    "clear_refs": lambda root: clear_soft_dirty(root, ME),
    "memory": lambda root: read_pages(root, ME, ADDRESS),
    "folios": lambda root: kpageflags.folio_heads(root, ADDRESS),
    "census": lambda root: Census(root).tick(frozenset({(1, 2)}), ()),
    "kernel configuration": kconfig.read_config,
    "perf events": lambda root: open_on_all_cpus(root, EventSpec(TYPE_SOFTWARE, SW_PAGE_FAULTS, 0), 4096),
    "perf events of a cgroup": lambda root: open_on_all_cpus(
        root, EventSpec(TYPE_SOFTWARE, SW_PAGE_FAULTS, 0), 4096, "/"
    ),
}


@pytest.mark.parametrize("what", ASKING)
def test_without_a_descriptor_nothing_is_known(what: str) -> None:
    """A program that runs (this one) is not gone, a cgroup is not empty, memory is not free of policies."""
    root = SysRoot()
    with no_descriptors(), pytest.raises(ShortageError, match="may not open more than") as caught:
        ASKING[what](root)
    assert "LimitNOFILE" in caught.value.hint
    assert root.shortages.count >= 1
    assert str(caught.value) in root.shortages.words


@pytest.mark.parametrize("number, what", [(errno.ENFILE, "fs.file-max"), (errno.ENOMEM, "free memory")])
@pytest.mark.parametrize("how", ["stat", "pids", "pagemap", "policies", "cgroup of"])
def test_so_it_is_where_the_machine_has_none_left(
    number: int, what: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    root = SysRoot()
    monkeypatch.setattr("pghot.kernel.sysroot.open", refuse, raising=False)
    for call in ("open", "scandir", "listdir"):
        monkeypatch.setattr(f"pghot.kernel.sysroot.os.{call}", refuse)
    with pytest.raises(ShortageError) as caught:
        ASKING[how](root)
    monkeypatch.undo()
    assert what in caught.value.hint


def test_a_program_that_ended_is_no_shortage(tmp_path: Path) -> None:
    root = SysRoot(tmp_path)
    with pytest.raises(FileNotFoundError):
        process.read_stat(root, 7)
    assert process.ended(root, process.Identity(7, 1, (1, 2, 3)))
    assert root.read_or("/proc/7/maps", "gone") == "gone"
    assert root.shortages.count == 0


def test_one_that_comes_and_goes_is_one_shortage() -> None:
    shortages = Shortages()
    assert shortages.lasting(0) == ""
    shortages.of(OSError(errno.EMFILE, ""))
    words = shortages.lasting(1000)
    assert "LimitNOFILE" in words
    assert shortages.lasting(1000 + HOLD_MS - 1) == words
    shortages.of(OSError(errno.EMFILE, ""))
    assert shortages.lasting(1000 + HOLD_MS) == words
    assert shortages.lasting(1000 + 2 * HOLD_MS) == ""
    assert shortages.of(OSError(errno.ESRCH, "")) is None


def test_the_files_of_the_kernel_are_opened_in_one_place() -> None:
    """Whoever opens one by itself may take a shortage for an answer. The other two are called from `SysRoot.asking`."""
    source = Path(process.__file__).parent
    opens = re.compile(r"\bos\.(open|listdir|scandir)\(|(?<![\w.])open\(|\.(read_text|read_bytes|iterdir)\(")
    found = {
        f"{path.name}: {line.strip()}"
        for path in source.glob("*.py")
        for line in path.read_text().splitlines()
        if (each := opens.search(line)) and not line[: each.start()].endswith("root") and "def " not in line
    }
    within = ("sysroot.py", "own_files.py", "regular_file.py")
    assert {each for each in found if not each.startswith(within)} == set()
