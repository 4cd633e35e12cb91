"""Programs, files and cgroups with names that look like something else: they stay names."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from builders.machine_trees import put
from pghot.daemon.logs import event, open_log
from pghot.kernel.cgroup import cgroup_members, cgroup_of
from pghot.kernel.cgroup_patterns import cgroups_like
from pghot.kernel.kvm import runs_guest
from pghot.kernel.lru_gen import parse_lru_gen
from pghot.kernel.maps import MappingKind, read_maps_text
from pghot.kernel.maps_text import parse_maps
from pghot.kernel.process import read_stat
from pghot.kernel.process_status import read_status
from pghot.kernel.sysroot import SysRoot

CALLED = """
import ctypes, sys
name = bytes.fromhex(sys.argv[1])
ctypes.CDLL(None).prctl(15, name)  # PR_SET_NAME
print(flush=True)
sys.stdin.read()
"""
NAMES = {
    "newline": b"a\nUid:\t0\t0\t0",
    "stat": b"a) R 1 1 1 1",
    "escape": b"\x1b[2J\x1b]0;x\x07",
    "bytes": b"\xff\xfe\xc0\x80",
    "html": b"</td><script>",
    "quotes": b'"},{"pid":1',
    "direction": "a\u202eb".encode(),
    "lines": b"a\x0b\x0c\x1c\x85b",
    "label": b'x",pid="1"} 9\n',
}


@pytest.fixture
def called(request: pytest.FixtureRequest) -> Iterator[int]:
    """A process with this name."""
    words = [sys.executable, "-c", CALLED, NAMES[request.param].hex()]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child.pid
        child.kill()


@pytest.mark.parametrize("called", NAMES, indirect=True)
@pytest.mark.parametrize("form", ["json", "text"])
def test_a_program_has_one_line_in_the_log_and_its_own_numbers(
    called: int, form: Literal["json", "text"], capsys: pytest.CaptureFixture[str]
) -> None:
    root = SysRoot()
    stat, status = read_stat(root, called), read_status(root, called)
    assert status is not None
    assert (stat.identity.pid, stat.dead, status.user) == (called, False, os.geteuid())
    assert status.resident_bytes > 1 << 20
    log = open_log(form)
    event(log, "programs", names_found=[f"{called} {stat.comm}"])
    (line,) = capsys.readouterr().err.split("\n")[:-1]
    assert line.isascii() or form == "text"
    assert line.isprintable()
    if form == "json":
        assert json.loads(line)["names_found"] == [f"{called} {stat.comm}"]


@pytest.mark.parametrize(
    "name",
    [b"anon_inode:kvm-vcpu:0", b"x anon_inode:kvm-vcpu:0", b"x\n00400000-00500000 rw-p 0 0:0 0 anon_inode:kvm-vcpu:0",
     b"\x1b[2J\xff", b"7f0000000000-7f0000001000 rw-p 00000000 00:00 0"],
    ids=range(5),
)  # fmt: skip
def test_a_file_whose_name_looks_like_a_mapping_is_a_file(tmp_path: Path, name: bytes) -> None:
    """It makes no virtual machine of its program, and no further mapping."""
    root = SysRoot()
    path = os.fsencode(tmp_path) + b"/" + name
    with open(path, "w+b") as file:
        file.write(bytes(4096))
        file.flush()
        with mmap.mmap(file.fileno(), 4096, mmap.MAP_PRIVATE) as memory:
            start = np.frombuffer(memory, np.uint8).ctypes.data
            text = read_maps_text(root, os.getpid())
            assert not runs_guest(text)
            found = parse_maps(text)
            (mine,) = np.flatnonzero(found.start == start)
            assert found.kind[mine] == MappingKind.FILE
            assert found.inode[mine] == os.stat(path).st_ino
            assert len(found) == sum(b" ffffffff" not in b" " + line for line in text.split(b"\n")[:-1])


def test_a_real_virtual_machine_is_one() -> None:
    line = b"7f1c5c000000-7f1c5c003000 rw-s 00000000 00:0e 1057                       anon_inode:kvm-vcpu:0 (deleted)\n"
    assert runs_guest(b"00400000-00401000 r-xp 00000000 08:01 7 /bin/qemu\n" + line)


ODD_GROUPS = ["a\x0b0::", "b\x1c0::", "c\x850::", "d\u20280::", "e 0::", "f[1]", "g*", "h\udcff", "\x1b[2Ji"]


@pytest.mark.parametrize("name", ODD_GROUPS)
def test_a_cgroup_is_called_as_it_is_called(tmp_path: Path, name: str) -> None:
    """The kernel refuses a newline in it, and nothing else but a slash."""
    root = SysRoot(tmp_path)
    put(tmp_path, "sys/fs/cgroup/cgroup.procs", "")
    put(tmp_path, f"sys/fs/cgroup/top/{name}/cgroup.procs", "7")
    put(tmp_path, "sys/fs/cgroup/top/other/cgroup.procs", "8")
    put(tmp_path, "sys/fs/cgroup/top/cgroup.procs", "")
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/cgroup").write_bytes(os.fsencode(f"1:cpu:/v1\n0::/top/{name}\n"))
    assert cgroup_of(root, 7) == f"/top/{name}"
    assert cgroup_members(root, "/top") == [7, 8]
    assert set(cgroups_like(root, "/top/*")) == {f"/top/{name}", "/top/other"}


@pytest.mark.parametrize("name", [each for each in ODD_GROUPS if "\udcff" not in each])
def test_generations_are_of_the_cgroup_that_has_them(name: str) -> None:
    text = f"memcg     9 /top/{name}\n node     0\n          1      23456         17        0 \n"
    (found,) = parse_lru_gen(text)
    assert (found.memcg, found.path, found.anon_pages) == (9, f"/top/{name}", 17)


def test_metrics_have_no_label_that_a_stranger_chooses() -> None:
    from pghot.daemon.prometheus import families
    from unit.daemon.test_sockets_and_metrics import FACTS

    facts: dict[str, Any] = {
        **FACTS, "programs": [{"pid": number, "name": str(name)} for number, name in enumerate(NAMES.values())],
    }  # fmt: skip
    labels = [sample.labels for family in families(facts) for sample in family.samples]
    assert {key for each in labels for key in each} == {"source", "part", "node", "errno", "version"}
