"""What the live side reads from /proc, /sys and debugfs: real text, awkward names, and garbage."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import tempfile
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pghot.errors import PghotError, UnsupportedError, UsageError
from pghot.kernel.cgroup import cgroup_members, cgroup_of, cgroup_path
from pghot.kernel.folios import has_large_folios
from pghot.kernel.lru_gen import Generation, parse_lru_gen
from pghot.kernel.maps import MappingKind, Mappings
from pghot.kernel.maps_decode import fill_kinds
from pghot.kernel.maps_text import parse_maps, read_maps
from pghot.kernel.mempolicy import read_policies
from pghot.kernel.page_idle import BITMAP, mark_idle, still_idle, words_of_frames
from pghot.kernel.pagemap import PFN_MASK, PRESENT, SOFT_DIRTY, flagged, pfns
from pghot.kernel.process import alive, capabilities, children, descendants, parse_stat, read_stat
from pghot.kernel.sysroot import SysRoot
from pghot.sealed import seal, unseal
from references.kernel.maps import decode_reference, fill_kinds_reference

PLACE = tempfile.TemporaryDirectory()  # for the trees of all examples; goes with the process
# Characters at which Python ends a line and the kernel does not.
ODD_LINE_ENDS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\r"
SECTION_BYTES = 1 << 27
commands = st.text(st.characters(min_codepoint=1, max_codepoint=0x2FFF), max_size=15)
LRU_GEN = """\
memcg     1 /
 node     0
          0      59584         15       2105
          1      30000          0         -0
 node     1
          4        980       8112          0
memcg    42 /system.slice/a b.service
 node     0
          7          3          1          2
"""
MAPS = """\
55d0c2a00000-55d0c2a28000 r--p 00000000 08:01 1311                       /usr/bin/python3.11
55d0c3e00000-55d0c3f00000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000200000 rw-p 00000000 00:00 0 
7f0000200000-7f0000400000 rw-p 00000000 00:00 0                          [anon:arena]
7f0000400000-7f0000500000 rw-s 00000000 00:01 2048                       /dev/zero (deleted)
7f0000500000-7f0000600000 rw-p 00000000 00:0f 33                         /anon_hugepage (deleted)
7f0000600000-7f0000700000 rw-p 00000000 08:01 1400                       /tmp/a\\012b c
7f0000700000-7f0000800000 rw-p 00000000 00:06 5                          /dev/nvidia0
7f0000800000-7f0000802000 r-xp 00000000 00:00 0                          [vdso]
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
"""  # noqa: W291


def stat_line(pid: int, comm: str, **given_: int) -> str:
    """A line of /proc/PID/stat; fields by their names in proc(5)."""
    fields = dict.fromkeys(range(4, 53), 0)
    numbers = {
        "flags": 9,
        "utime": 14,
        "stime": 15,
        "starttime": 22,
        "startcode": 26,
        "startstack": 28,
        "arg_start": 48,
    }
    fields |= {numbers[name]: value for name, value in given_.items()}
    return f"{pid} ({comm}) S " + " ".join(str(fields[number]) for number in sorted(fields))


def tree(**files: str) -> SysRoot:
    """A tree in a directory of its own; `__` in a name stands for a slash."""
    root = SysRoot(Path(tempfile.mkdtemp(dir=PLACE.name)))
    for name, text in files.items():
        path = root.path(name.replace("__", "/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return root


# ---- stat


@given(st.integers(1, 1 << 22), commands, st.integers(0, 1 << 40), st.integers(0, (1 << 32) - 1))
def test_any_command_name_is_read(pid: int, comm: str, start: int, flags: int) -> None:
    stat = parse_stat(
        stat_line(
            pid, comm, flags=flags, utime=7, stime=4, starttime=start, startcode=1, startstack=2, arg_start=3
        )
    )
    assert (stat.comm, stat.state, stat.cpu_ticks, stat.flags) == (comm, "S", 11, flags)
    assert (stat.identity.pid, stat.identity.start_ticks, stat.identity.mm) == (pid, start, (1, 2, 3))
    assert stat.kernel_thread == bool(flags >> 21 & 1)


@pytest.mark.parametrize("comm", [") S 1 1 (", "a)b(c", "two\nlines", "(", ")", ""])
def test_awkward_command_names(comm: str) -> None:
    assert parse_stat(stat_line(5, comm)).comm == comm


@given(st.text(max_size=300) | st.builds(lambda a, b: stat_line(1, a)[:b], commands, st.integers(0, 150)))
def test_a_stat_line_is_read_or_refused(text: str) -> None:
    try:
        parse_stat(text)
    except ValueError:
        return
    assert text.count(" ") >= 46


def test_garbage_in_a_stat_file_is_no_process() -> None:
    root = tree(proc__5__stat="garbage")
    with pytest.raises(ProcessLookupError, match="/proc/5/stat"):
        read_stat(root, 5)


def test_this_process_is_itself_and_alive() -> None:
    stat = read_stat(SysRoot(), os.getpid())
    assert stat.cpu_ticks <= read_stat(SysRoot(), os.getpid()).cpu_ticks
    assert not stat.kernel_thread
    assert not stat.dead
    assert alive(SysRoot(), stat.identity)
    other = type(stat.identity)(stat.identity.pid, stat.identity.start_ticks + 1, stat.identity.mm)
    assert not alive(SysRoot(), other)


# ---- maps


def columns(mappings: Mappings) -> list[tuple[int, ...]]:
    parts = (mappings.start, mappings.end, mappings.kind, mappings.device, mappings.inode, mappings.offset)
    return list(zip(*(part.tolist() for part in parts), strict=True))


def test_kinds_of_real_mappings() -> None:
    assert parse_maps(MAPS.encode()).kind.tolist() == [
        MappingKind.FILE, MappingKind.MOVABLE, MappingKind.MOVABLE, MappingKind.MOVABLE, MappingKind.SHARED,
        MappingKind.HUGETLB, MappingKind.FILE, MappingKind.SPECIAL,
        MappingKind.SPECIAL, MappingKind.MOVABLE,
    ]  # fmt: skip


def test_adjacent_movable_mappings_are_one_range() -> None:
    start, end = parse_maps(MAPS.encode()).movable()
    assert list(zip(start.tolist(), end.tolist(), strict=True)) == [
        (0x55D0C3E00000, 0x55D0C3F00000),
        (0x7F0000000000, 0x7F0000400000),
        (0x7FFC00000000, 0x7FFC00021000),
    ]


def test_our_own_mappings_are_all_understood() -> None:
    text = Path("/proc/self/maps").read_bytes()
    user_half = [line for line in text.splitlines() if int(line.split(b"-")[0], 16) < 1 << 62]
    mappings = parse_maps(text)
    assert len(mappings) == len(user_half)
    assert columns(mappings) == decode_reference(text)
    (stack,) = [i for i, line in enumerate(user_half) if line.endswith(b"[stack]")]
    assert mappings.kind[stack] == MappingKind.MOVABLE
    assert len(read_maps(SysRoot(), os.getpid()))


@given(st.text(st.sampled_from(ODD_LINE_ENDS + "ab /"), min_size=1, max_size=12))
def test_a_file_name_cannot_make_a_mapping_up(name: str) -> None:
    """The kernel writes newlines in names as \\012; everything else stands there as it is."""
    forged = "7f0000000000-7f0000001000 rw-p 00000000 00:00 0 "
    text = (
        f"1000-2000 r--p 00000000 08:01 9 /{name}\x0b{forged}\u2028{forged}\n3000-4000 rw-p 00000000 00:00 0 "
    )
    assert columns(parse_maps(text.encode())) == [
        (0x1000, 0x2000, MappingKind.FILE, 0x800001, 9, 0),
        (0x3000, 0x4000, MappingKind.MOVABLE, 0, 0, 0),
    ]


HEX = st.integers(0, 1 << 66).map(lambda number: b"%x" % number) | st.sampled_from(
    [b"0" * 20 + b"1", b"", b"G"]
)
NAMES = st.sampled_from(
    [b"", b"[heap]", b"[stack]", b"[vdso]", b"[vdso", b"[vdso]x", b"[vvar_vclock]", b"/anon_hugepage (deleted)",
     b"/dev/zero", b"/dev/zero (deleted)", b"/dev", b"/usr/lib/x y", b"[anon: v8]", b"anon_inode:[x]",
     b"/SYSV00000000 (deleted)"]
)  # fmt: skip
LINES = st.builds(
    lambda start, end, permissions, offset, device, inode, gap, name: (
        b"%s-%s %s %s %s %s%s%s" % (start, end, permissions, offset, device, inode, gap, name)
    ),
    HEX,
    HEX,
    st.sampled_from([b"rw-p", b"r--s", b"---p", b"rw p", b"rw-", b"rw-ps"]),
    HEX,
    st.sampled_from([b"08:01", b"00:2f", b"fff:fffff", b"0:", b":1"]),
    st.sampled_from([b"0", b"00", b"9", b"10", b"%d" % (2**64 - 1), b"", b"x"]),
    st.sampled_from([b"", b" ", b"   ", b"\t"]),
    NAMES,
)
# Any text, and lines that are almost right: one byte of a real one is another.
TEXTS = st.lists(
    LINES
    | st.binary(max_size=40)
    | st.builds(
        lambda at, byte: MAPS.encode()[:at] + byte + MAPS.encode()[at + 1 :],
        st.integers(0, len(MAPS) - 1),
        st.sampled_from([b" ", b"-", b"s", b"0", b"f", b"\n", b":", b"\x85", b"/"]),
    ),
    max_size=6,
).map(b"\n".join)


@given(TEXTS)
def test_maps_are_decoded_as_by_the_reference(text: bytes) -> None:
    assert columns(parse_maps(text)) == decode_reference(text)


def mappings_of(rows: list[tuple[int, int, int]]) -> Mappings:
    start, end, kind = (np.array([row[i] for row in rows], np.uint64) for i in range(3))
    return Mappings(start, end, kind.astype(np.uint8), *np.zeros((3, len(rows)), np.uint64))


@st.composite
def some_mappings(draw: st.DrawFn) -> Mappings:
    """Up to twelve, with gaps or without, about a section boundary."""
    at, rows = SECTION_BYTES - 40 * 4096, []
    for gap, pages, kind in draw(
        st.lists(st.tuples(st.integers(0, 9), st.integers(1, 30), st.integers(1, 5)), max_size=12)
    ):
        rows.append((at + gap * 4096, at + (gap + pages) * 4096, kind))
        at = rows[-1][1]
    return mappings_of(rows)


@given(some_mappings(), st.integers(-50, 90), st.integers(1, 60))
def test_the_kinds_of_pages_are_those_of_the_reference(mappings: Mappings, offset: int, pages: int) -> None:
    begin = SECTION_BYTES + offset * 4096
    kind = np.full(pages, 77, np.uint8)
    fill_kinds(mappings.start, mappings.end, mappings.kind, begin, kind)
    assert kind.tolist() == fill_kinds_reference(mappings, begin, pages).tolist()


@given(some_mappings(), st.lists(st.integers(0, 6), min_size=12, max_size=12), st.booleans())
def test_outside_of_what_changed_pages_have_the_kind_they_had(
    one: Mappings, now: list[int], back: bool
) -> None:
    """A mapping is gone (0), has the kind that is drawn, or stays as it was (6)."""
    rows = [
        (row[0], row[1], row[2] if kind == 6 else kind) for row, kind in zip(columns(one), now, strict=False)
    ]
    other = mappings_of([row for row in rows if row[2]])
    before, after = (other, one) if back else (one, other)
    between = before.changed_between(after)
    begin, pages = SECTION_BYTES - 50 * 4096, 600
    kinds = [fill_kinds_reference(mappings, begin, pages) for mappings in (before, after)]
    differ = begin + np.flatnonzero(kinds[0] != kinds[1]) * 4096
    if between is None:
        assert columns(before) == columns(after)
    else:
        assert columns(before) != columns(after)
        assert between == (differ[0], differ[-1] + 4096)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 3), st.booleans()), max_size=12))
def test_movable_ranges_cover_exactly_the_movable_pages(parts: list[tuple[int, int, bool]]) -> None:
    lines, covered, at = [], set(), 4096
    for gap, pages, movable in parts:
        start = at + (gap % 3) * 4096
        at = start + pages * 4096
        lines.append(f"{start:x}-{at:x} {'rw-p' if movable else 'rw-s'} 0 0:0 0 ")
        if movable:
            covered |= set(range(start, at, 4096))
    start_of, end_of = parse_maps("\n".join(lines).encode()).movable()
    ranges = list(zip(start_of.tolist(), end_of.tolist(), strict=True))
    assert {page for start, end in ranges for page in range(start, end, 4096)} == covered
    assert all(first[1] < second[0] for first, second in pairwise(ranges))


def test_bound_mappings_are_named_by_their_start() -> None:
    text = "7f00 default anon=1\n7f10 bind:0-1 anon=3\n7f20 bind=static:1 anon=2\n7f30 prefer:1\n"
    root = tree(proc__9__numa_maps=text + f"8000 default file=/x{chr(0x2028)}zz bind:0\n")
    assert read_policies(root, 9).bound.tolist() == [0x7F10, 0x7F20]
    assert read_policies(root, 10).bound.tolist() == []


@pytest.mark.parametrize(
    ("line", "pages"),
    [
        ("prefer:0 anon=3 dirty=3 N0=3 kernelpagesize_kB=4", 3),
        ("prefer (many):0-1 anon=3", 3),
        ("prefer=static:1 anon=3 mapped=5", 3),
        ("interleave:0-1 file=/x anon=3", 3),
        ("weighted interleave:0 anon=3", 3),
        ("local anon=3", 3),
        ("prefer (many)=balancing:0 anon=3", 0),
        ("default anon=3", 0),
        ("bind:0 anon=3", 0),
        ("interleave:0 huge anon=3 kernelpagesize_kB=2048", 0),
        ("interleave:0 file=/x mapped=3", 0),
        ("default file=/interleave:0 anon=3", 0),
    ],
)
def test_which_policies_keep_hint_faults_away(line: str, pages: int) -> None:
    root = tree(proc__9__numa_maps=f"7f00 {line}\n8f00 default anon=7\n9f00 {line}\n")
    assert read_policies(root, 9).unscanned_bytes == 2 * pages * 4096


def test_policies_of_this_kernel() -> None:
    """64 KiB each under preferred, interleave and local, set by mbind(2), and as much under bind."""
    libc, size, node0 = ctypes.CDLL(None, use_errno=True), 1 << 16, ctypes.c_ulong(1)
    mbind = {"x86_64": 237, "aarch64": 235}.get(platform.machine())
    if mbind is None or not Path("/proc/self/numa_maps").exists():
        pytest.skip("no mbind(2) or numa_maps")
    before = read_policies(SysRoot(), os.getpid())
    held = [mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(4)]
    starts = []
    for memory, mode in zip(held, (1, 3, 4, 2), strict=True):  # MPOL_PREFERRED, INTERLEAVE, LOCAL, BIND
        starts.append(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
        mask = None if mode == 4 else ctypes.byref(node0)
        bits = ctypes.c_ulong(0 if mode == 4 else 64)
        if libc.syscall(mbind, ctypes.c_void_p(starts[-1]), ctypes.c_ulong(size), mode, mask, bits, 0):
            pytest.skip(f"mbind: {os.strerror(ctypes.get_errno())}")
        memory[:] = b"x" * size
    after = read_policies(SysRoot(), os.getpid())
    assert after.unscanned_bytes - before.unscanned_bytes == 3 * size
    assert starts[3] in after.bound.tolist()


# ---- lru_gen


def test_generations_of_a_real_form() -> None:
    found = parse_lru_gen(LRU_GEN)
    assert found[0] == Generation(1, "/", 0, 0, 59584, 15, 2105, True)
    assert found[1].file_pages == 0  # shown as -0
    assert found[2] == Generation(1, "/", 1, 4, 980, 8112, 0, True)
    assert found[3].path == "/system.slice/a b.service"
    assert len(found) == 4


def test_all_but_the_two_youngest_are_inactive() -> None:
    rows = "\n".join(f" {number} 0 1 1" for number in range(5, 9))
    assert [each.active for each in parse_lru_gen(f"memcg 1 /\n node 0\n{rows}")] == [
        False,
        False,
        True,
        True,
    ]


@given(
    st.text(max_size=100)
    | st.lists(
        st.sampled_from(
            ["memcg", "memcg 1", " node", "memcg 1 /a", " node 0", " 1 2 3 4", " 1 2 x 4", " ²", "x"]
        ),
        max_size=9,
    ).map("\n".join)
)
def test_generations_are_read_or_refused(text: str) -> None:
    try:
        found = parse_lru_gen(text)
    except ValueError:
        return
    assert all(each.memcg >= 0 and each.node >= 0 for each in found)


# ---- cgroups, children, capabilities


def cgroups() -> SysRoot:
    base = "sys__fs__cgroup__"
    return tree(
        **{
            f"{base}cgroup.procs": "1\n",
            f"{base}a__cgroup.procs": "30\n20\n",
            f"{base}a__memory.max": "max",
            f"{base}a__b__cgroup.procs": "25\n0\n",
            f"{base}empty__cgroup.procs": "",
        }
    )


@pytest.mark.parametrize("path", ["a", "/a", "/sys/fs/cgroup/a", "a/"])
def test_members_of_a_group_and_those_below(path: str) -> None:
    assert cgroup_members(cgroups(), path) == [20, 25, 30]
    assert cgroup_path(path) == "/sys/fs/cgroup/a"


@pytest.mark.parametrize("path", ["a/threads", "a/threads/inner"])
def test_a_threaded_group_is_refused_with_the_domain_that_has_its_memory(path: str) -> None:
    """The kernel lists no processes there. The domain lists them all, those in the threaded groups too."""
    base = "sys__fs__cgroup__"
    root = tree(
        **{
            f"{base}cgroup.procs": "1\n",
            f"{base}a__cgroup.procs": "30\n20\n",
            f"{base}a__cgroup.type": "domain threaded\n",
            f"{base}a__threads__cgroup.procs": "",
            f"{base}a__threads__cgroup.type": "threaded\n",
            f"{base}a__threads__inner__cgroup.procs": "",
            f"{base}a__threads__inner__cgroup.type": "threaded\n",
        }
    )
    with pytest.raises(
        UsageError, match=f"cgroup {path} is threaded: .* belongs to the cgroup /a$"
    ) as caught:
        cgroup_members(root, path)
    assert caught.value.hint == "name /a"
    assert cgroup_members(root, "a") == [20, 30]


def test_groups_without_members_and_groups_that_are_not() -> None:
    assert cgroup_members(cgroups(), "empty") == []
    with pytest.raises(UsageError, match="no cgroup nosuch"):
        cgroup_members(cgroups(), "nosuch")
    with pytest.raises(UnsupportedError, match="cgroup v2"):
        cgroup_members(tree(), "a")


def test_the_group_of_a_process() -> None:
    root = tree(proc__5__cgroup="1:cpu:/old\n0::/user.slice/x\n", proc__6__cgroup="1:cpu:/old\n")
    assert [cgroup_of(root, pid) for pid in (5, 6, 7)] == ["/user.slice/x", "/", "/"]


def test_descendants_are_found_through_all_threads() -> None:
    root = tree(
        proc__1__task__1__children="2 3",
        proc__1__task__9__children="4",
        proc__3__task__3__children="5",
        proc__5__task__5__children="1",  # cannot be, and must not hang
    )
    assert children(root, 1) == [2, 3, 4]
    assert sorted(descendants(root, 1)) == [1, 2, 3, 4, 5]


def test_capabilities() -> None:
    assert capabilities(tree(proc__self__status="Name:\tx\nCapEff:\t0000000000000009\n")) == 9
    assert capabilities(tree()) == 0


# ---- large folios


THP = "sys__kernel__mm__transparent_hugepage__"


@pytest.mark.parametrize(
    "files, expected",
    [
        ({}, False),
        ({"proc__7__smaps_rollup": "Rss: 9 kB\nAnonHugePages:      2048 kB\n"}, True),
        ({"proc__7__smaps_rollup": "AnonHugePages:         0 kB\n"}, False),
        ({f"{THP}hugepages-64kB__enabled": "[always] inherit madvise never"}, True),
        ({f"{THP}hugepages-64kB__enabled": "always inherit madvise [never]"}, False),
        ({f"{THP}hugepages-64kB__enabled": "always [inherit] madvise never"}, False),
        ({f"{THP}hugepages-2048kB__enabled": "[always] inherit madvise never"}, False),
        ({f"{THP}khugepaged__enabled": "[always]"}, False),
    ],
)
def test_who_may_have_large_folios(files: dict[str, str], expected: bool) -> None:
    assert has_large_folios(tree(**files), 7) is expected


# ---- pagemap and the idle bitmap, as files


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, PFN_MASK)), max_size=20),
    st.integers(0, 5),
)
def test_pagemap_entries(pages: list[tuple[bool, bool, int]], skipped: int) -> None:
    words = [present * PRESENT | dirty * SOFT_DIRTY | frame for present, dirty, frame in pages]
    root = tree(proc__7__pagemap="")
    root.path("/proc/7/pagemap").write_bytes(bytes(8 * skipped) + np.array(words, np.uint64).tobytes())
    start, end = skipped * 4096, (skipped + len(pages) + 3) * 4096  # the file ends before the range
    at = [start + i * 4096 for i in range(len(pages))]
    dirty = flagged(root, 7, start, end, SOFT_DIRTY)
    assert dirty.tolist() == [where for where, page in zip(at, pages, strict=True) if page[0] and page[1]]
    address, frame = pfns(root, 7, start, end)
    assert list(zip(address.tolist(), frame.tolist(), strict=True)) == [
        (where, page[2]) for where, page in zip(at, pages, strict=True) if page[0]
    ]


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=40), st.lists(st.integers(0, 2000), max_size=40))
def test_idle_bits(marked: list[int], asked: list[int]) -> None:
    """The file keeps the bits that were written last to each word, as the kernel's sets them."""
    root = tree(**{BITMAP.lstrip("/").replace("/", "__"): "\0" * 256})
    mark_idle(root, np.array(marked, np.uint64))
    idle = still_idle(root, np.array(asked, np.uint64))
    assert idle.tolist() == [frame in marked for frame in asked]
    word, bits = words_of_frames(np.array(marked, np.uint64))
    assert sum(int(each).bit_count() for each in bits) == len(set(marked))
    assert word.tolist() == sorted({frame >> 6 for frame in marked})


# ---- sealed lines


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
facts = st.dictionaries(st.text(max_size=5), json_values, max_size=4)


@given(facts)
def test_sealed_facts_come_back(sealed: dict[str, object]) -> None:
    assert unseal(seal(sealed)) == sealed
    assert "\n" not in seal(sealed)


@given(facts, st.data())
def test_no_changed_byte_goes_unnoticed(sealed: dict[str, object], data: st.DataObject) -> None:
    raw = bytearray(seal({**sealed, "name": "what? (sh)"}).encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError):  # noqa: PT011 - of the checksum, of JSON, or of the form
        unseal(raw.decode("utf-8", "surrogateescape"))


def test_an_invalid_byte_in_place_of_a_question_mark() -> None:
    raw = seal({"name": "a?b"}).encode().replace(b"?", b"\xbf")
    with pytest.raises(ValueError, match="checksum"):
        unseal(raw.decode("utf-8", "surrogateescape"))


@given(st.text(max_size=60) | st.sampled_from(["[" * 9000, "3", "null", '{"a":NaN}', "\ud800"]))
def test_any_text_is_refused_as_a_value_error(text: str) -> None:
    for line in (text, f"{zlib.crc32(text.encode(errors='surrogatepass')):08x} {text}"):
        try:
            assert isinstance(unseal(line), dict)
        except ValueError:
            continue


@given(st.text(max_size=60))
def test_files_of_garbage_raise_only_what_is_documented(text: str) -> None:
    name = "sys__fs__cgroup__"
    root = tree(
        **{
            f"{name}cgroup.procs": "1",
            f"{name}a__cgroup.procs": text,
            "proc__3__numa_maps": text,
            "proc__3__smaps_rollup": text,
            "proc__3__cgroup": text,
            "proc__self__status": f"CapEff: {text}",
        }
    )
    for read in (
        lambda: cgroup_members(root, "a"),
        lambda: read_policies(root, 3),
        lambda: has_large_folios(root, 3),
        lambda: cgroup_of(root, 3),
    ):
        try:
            read()
        except (ValueError, OSError, PghotError):
            continue
