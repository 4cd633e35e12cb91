"""A journal that is written anew: what lives can be undone at any moment, what ended goes, its size is bounded."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.journals import Origins, origins_of
from builders.live_loop import (
    START,
    FakeKernel,
    Scripted,
    addresses,
    install,
    maps_line,
    register,
    space_of,
)
from builders.machine_trees import put
from pghot.kernel.knob_files import PROMOTE_RATE_LIMIT
from pghot.kernel.process import Identity, ended
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import FileIdentity, MappedFile
from pghot.live import journal as journal_module
from pghot.live.journal import Journal, mark_undone
from pghot.live.journal_file import read_journal
from pghot.live.live_settings import LiveSettings
from pghot.live.loop import Live
from pghot.live.sources.access_source import sightings_of
from pghot.live.targets import Targets

LIVING, DEAD = 500, 600


def new_name(path: Path) -> Path:
    """Where the new file is while it is written."""
    return path.with_name(path.name + ".new")


def write(journal: Journal, pid: int, pages: dict[int, int], shared: bool = False) -> None:
    vpn, node = np.array(list(pages), np.uint64), np.array(list(pages.values()), np.uint8)
    journal.origins(space_of(pid), vpn * np.uint64(4096), node, shared)


def said(path: Path) -> Origins:
    """The first node of each page that the journal names, by pid."""
    journal = read_journal(path)
    assert journal.damaged == []
    return origins_of(journal)


def whole(journal: Journal) -> None:
    """Write all of it anew."""
    journal.look(())
    while journal._rewriting is not None:
        journal.go_on(0)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "LEAST_BYTES", 1)


@pytest.fixture
def kernel(tmp_path: Path) -> FakeKernel:
    kernel = FakeKernel(tmp_path)
    for pid in (LIVING, DEAD):
        kernel.program(pid, [maps_line(START, 64)])
    return kernel


def filled(kernel: FakeKernel, path: Path) -> Journal:
    """With two programs, of which the second has ended."""
    journal = Journal(path, kernel.root)
    journal.knob(PROMOTE_RATE_LIMIT, "65536", "0")
    write(journal, LIVING, {7: 1, 8: 1})
    write(journal, DEAD, {7: 0})
    journal.compressed(2)
    write(journal, LIVING, {8: 0, 9: 1, 20: 0})
    write(journal, LIVING, {20: 1, 30: 1}, shared=True)
    kernel.exit(DEAD)
    return journal


LEFT: Origins = {LIVING: {7: 1, 8: 1, 9: 1, 20: 0, 30: 1}}


def test_what_ended_goes_and_each_page_is_named_once(kernel: FakeKernel, tmp_path: Path) -> None:
    with filled(kernel, tmp_path / "j") as journal:
        before = journal.bytes_written
        whole(journal)
        assert said(journal.path) == LEFT
        assert journal.bytes_written < before
        found = read_journal(journal.path)
        assert found.knobs == [(PROMOTE_RATE_LIMIT, "65536", "0")]
        assert found.compressed
        (entry,) = found.spaces
        assert (entry.identity, entry.name, entry.pages) == (space_of(LIVING).identity, "program", 5)
        assert [(line.pages, line.shared) for line in entry.lines] == [(3, False), (2, True)]
        assert journal.path.stat().st_mode & 0o777 == 0o600
        write(journal, LIVING, {40: 0, 7: 0})
        assert said(journal.path) == {LIVING: LEFT[LIVING] | {40: 0}}
        assert journal.bytes_written == journal.path.stat().st_size
    assert not new_name(journal.path).exists()


def test_what_is_written_meanwhile_is_there_too(kernel: FakeKernel, tmp_path: Path) -> None:
    """A page of a knob, a page and a new program between any two steps."""
    with filled(kernel, tmp_path / "j") as journal:
        expected, knobs = LEFT[LIVING].copy(), [(PROMOTE_RATE_LIMIT, "65536", "0")]
        journal.look(())
        for page in range(100, 400):
            if journal._rewriting is None:
                break
            journal.go_on(0)
            write(journal, LIVING, {page: page % 2})
            journal.knob(PROMOTE_RATE_LIMIT, "0", str(page))
            expected[page] = page % 2
            knobs.append((PROMOTE_RATE_LIMIT, "0", str(page)))
        assert said(journal.path)[LIVING] == expected
        assert read_journal(journal.path).knobs == knobs
        assert DEAD not in said(journal.path)
        assert page > 105


CALLS = ("open", "write", "fsync", "rename", "unlink", "close", "ftruncate", "fstat", "stat")


def killed_at(number: int, after: bool, work: Callable[[], None]) -> bool:
    """Run `work` in a child that is killed before or after its system call of this number; False: it made fewer."""
    if (child := os.fork()) == 0:
        count = 0

        def watched(call: Callable[..., Any]) -> Callable[..., Any]:
            def made(*args: Any, **more: Any) -> Any:
                nonlocal count
                count += 1
                if count == number and not after:
                    os.kill(os.getpid(), signal.SIGKILL)
                result = call(*args, **more)
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            return made

        for name in CALLS:
            setattr(os, name, watched(getattr(os, name)))
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_system_call_loses_nothing_that_lives(
    kernel: FakeKernel, tmp_path: Path, after: bool
) -> None:
    for number in range(1, 500):
        path = tmp_path / f"j{number}"
        kernel.program(DEAD, [maps_line(START, 64)])
        journal = filled(kernel, path)

        def work(journal: Journal = journal) -> None:
            journal.look(())
            while journal._rewriting is not None:
                journal.go_on(0)
                write(journal, LIVING, {9: 0})

        killed = killed_at(number, after, work)
        found = read_journal(path)
        assert said(path)[LIVING] == LEFT[LIVING], number
        assert found.knobs == [(PROMOTE_RATE_LIMIT, "65536", "0")]
        assert found.compressed
        if not killed:
            assert DEAD not in said(path)
            break
        # Another pghot comes after the undo; the half of a file that was left does not disturb it.
        mark_undone(path, found.file)
        Journal(path, kernel.root).close()
        assert not new_name(path).exists()
    assert number > 20


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_order_of_writing_ending_and_steps(data: st.DataObject) -> None:
    """The journal beside plain dicts: of what lives it says the first node of each page, at any moment."""
    pages = st.dictionaries(st.integers(0, 30), st.integers(0, 2), min_size=1, max_size=10)
    with tempfile.TemporaryDirectory() as place:
        kernel, living, born = FakeKernel(Path(place)), {}, 0
        with Journal(Path(place) / "j", kernel.root) as journal:
            for _ in range(data.draw(st.integers(1, 60))):
                act = data.draw(st.sampled_from(["birth", "write", "write", "end", "look", *["step"] * 6]))
                pid = data.draw(st.sampled_from(sorted(living) or [0]))
                if act == "birth" or pid == 0:
                    pid, born = 500 + born, born + 1
                    kernel.program(pid, [maps_line(START, 64)])
                    living[pid] = dict[int, int]()
                elif act == "write":
                    origins = data.draw(pages)
                    write(journal, pid, origins, data.draw(st.booleans()))
                    living[pid] = origins | living[pid]
                elif act == "end":
                    kernel.exit(pid)
                    del living[pid]
                elif act == "look":
                    journal.look([space_of(each).identity for each in living])
                else:
                    journal.go_on(0)
                found = said(journal.path)
                assert {each: found.get(each, {}) for each in living} == living
            living = {pid: origins for pid, origins in living.items() if origins}
            whole(journal)  # what had begun
            journal._kept_bytes = 0
            whole(journal)
            assert said(journal.path) == living


# ---- when


def test_it_waits_until_half_is_of_programs_that_are_not_tracked_or_until_it_has_doubled(
    kernel: FakeKernel, tmp_path: Path
) -> None:
    tracked = {space_of(LIVING).identity}
    with Journal(tmp_path / "j", kernel.root) as journal:
        write(journal, LIVING, dict.fromkeys(range(0, 4000, 2), 1))
        write(journal, DEAD, dict.fromkeys(range(0, 400, 2), 1))
        whole(journal)  # both live
        journal.look(tracked | {space_of(DEAD).identity})
        assert journal._rewriting is None
        write(journal, DEAD, dict.fromkeys(range(10_000, 11_600, 2), 1))
        kernel.exit(DEAD)
        journal.look(tracked)
        assert journal._rewriting is None  # a third
        write(journal, DEAD, dict.fromkeys(np.random.default_rng(23).integers(0, 1 << 30, 1000).tolist(), 1))
        journal.look(tracked)
        assert journal._rewriting is not None
        while journal._rewriting is not None:
            journal.go_on(0)
        kept = journal.bytes_written
        assert said(journal.path).keys() == {LIVING}
        while journal.bytes_written < 2 * kept:
            journal.look(tracked)
            assert journal._rewriting is None
            write(journal, LIVING, {0: 1})
        whole(journal)
        assert journal.bytes_written == kept


def test_programs_that_are_only_not_tracked_any_more_stay_and_are_not_looked_at_again(
    kernel: FakeKernel, tmp_path: Path
) -> None:
    with Journal(tmp_path / "j", kernel.root) as journal:
        write(journal, LIVING, {1: 1})
        whole(journal)
        write(journal, LIVING, {2: 1})
        journal._kept_bytes = 1 << 20
        journal.look(())
        assert journal._rewriting is None
        assert said(journal.path) == {LIVING: {1: 1, 2: 1}}


def test_a_small_one_is_left_alone(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "LEAST_BYTES", 1 << 20)
    with filled(kernel, tmp_path / "j") as journal:
        journal.look(())
        assert journal._rewriting is None


@pytest.mark.parametrize(
    ("least", "programs", "pages", "living", "lines"),
    [
        # What lives is little: the file has the least size at most. More than that: twice of it. The same many times.
        (journal_module.LEAST_BYTES, 2000, 2000, 50, 1),
        (100_000, 1000, 400, 100, 1),
        (100_000, 300, 400, 10, 12),
    ],
)
def test_however_many_programs_come_and_go_it_has_the_least_size_or_twice_what_lives(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    least: int, programs: int, pages: int, living: int, lines: int,
) -> None:  # fmt: skip
    """Each program has so many scattered pages, which are named `lines` times. Every fifth is not tracked for the
    second half of its life. In all they write many times what the file may have."""
    monkeypatch.setattr(journal_module, "LEAST_BYTES", least)
    random = np.random.default_rng(23)
    alive: dict[int, int] = {}  # the bytes of each, once
    written = anew = most_live = 0
    with Journal(tmp_path / "j", kernel.root) as journal:
        for pid in range(1000, 1000 + programs):
            kernel.program(pid, [maps_line(START, 64)])
            moved = dict.fromkeys(random.integers(0, 1 << 36, pages).tolist(), 1)
            alive[pid] = -journal.bytes_written
            write(journal, pid, moved)
            alive[pid] += journal.bytes_written
            for _ in range(lines - 1):
                write(journal, pid, moved)
            if len(alive) > living:
                first = next(iter(alive))
                kernel.exit(first)
                del alive[first]
            tracked = [each for at, each in enumerate(alive) if each % 5 or at > living // 2]
            written += lines * alive[pid]
            most_live = max(most_live, sum(alive.values()))
            last = journal.bytes_written
            journal.look([space_of(each).identity for each in tracked])
            anew += journal._rewriting is not None
            while journal._rewriting is not None:
                journal.go_on(0)
            assert last <= max(least, 2 * most_live) + 2 * lines * alive[pid]
    assert anew >= 4
    assert written > 3 * max(least, 2 * most_live)


# ---- what ended


@pytest.mark.parametrize(
    ("mm", "change", "gone"),
    [
        ((1, 2, 3), {}, False),
        ((1, 2, 3), {"start_ticks": 7}, True),
        ((1, 2, 3), {"code": 9}, True),  # an exec
        ((1, 2, 3), {"state": "Z"}, True),
        ((1, 0, 0), {}, False),  # the kernel hid it then
        ((1, 0, 0), {"start_ticks": 7}, True),
    ],
)
def test_what_has_ended_for_certain(
    kernel: FakeKernel, mm: tuple[int, int, int], change: dict[str, Any], gone: bool
) -> None:
    kernel.program(LIVING, [], **change)
    assert ended(kernel.root, Identity(LIVING, 100, mm)) == gone
    assert ended(kernel.root, Identity(DEAD + 1, 100, mm))


def test_a_process_that_cannot_be_read_just_now_has_not_ended(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(SysRoot, "read", full)
    assert not ended(kernel.root, Identity(DEAD, 100, (1, 2, 3)))


def test_files_stay_while_mapped_or_while_they_have_their_name(kernel: FakeKernel, tmp_path: Path) -> None:
    put(tmp_path, "dev/shm/named", "x")
    inode = (tmp_path / "dev/shm/named").stat().st_ino
    mapped = FileIdentity(0, 77, 0)
    kernel.program(LIVING, [maps_line(START, 8, "rw-s", inode=77, name="/dev/zero (deleted)")])
    files = {
        "/dev/zero (deleted)": mapped,
        "/memfd:gone (deleted)": FileIdentity(0, 78, 0),
        "/dev/shm/named": FileIdentity(0, inode, 0),
        "/dev/shm/another": FileIdentity(0, inode, 0),
        "": FileIdentity(0, 79, 0),
    }
    with Journal(tmp_path / "j", kernel.root) as journal:
        for number, (name, file) in enumerate(files.items(), 1):
            home = MappedFile(number, file if name != "/dev/shm/another" else FileIdentity(0, 80, 0), name)
            journal.origins(home, addresses(0, 3, 0), np.ones(3, np.uint8))
        whole(journal)
        assert [entry.name for entry in read_journal(journal.path).files] == [
            "/dev/zero (deleted)", "/dev/shm/named",
        ]  # fmt: skip
        assert [entry.pages for entry in read_journal(journal.path).files] == [3, 3]


# ---- what goes wrong


def test_without_room_for_the_new_file_the_old_one_stays_and_that_is_said(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filled(kernel, tmp_path / "j") as journal:
        before = journal.path.read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda fd, data: 0)
            whole(journal)
        assert journal.path.read_bytes() == before
        assert "No space left on device" in journal.trouble
        assert not new_name(journal.path).exists()
        journal.look(())
        assert journal._rewriting is None  # not before it has doubled
        while journal.bytes_written < 2 * len(before):
            write(journal, LIVING, {7: 1})
        whole(journal)
        assert said(journal.path) == LEFT
        assert journal.trouble == ""


@pytest.mark.parametrize("steps", [0, 1, 5, 12])
def test_a_file_that_took_its_name_is_not_replaced(kernel: FakeKernel, tmp_path: Path, steps: int) -> None:
    with filled(kernel, tmp_path / "j") as journal:
        journal.look(())
        for _ in range(steps):
            journal.go_on(0)
        assert journal._rewriting is not None
        (tmp_path / "j").rename(tmp_path / "away")
        (tmp_path / "j").write_bytes((tmp_path / "away").read_bytes())
        inode = (tmp_path / "j").stat().st_ino
        while journal._rewriting is not None:
            journal.go_on(0)
        assert (tmp_path / "j").stat().st_ino == inode
        assert "another file" in journal.trouble
        assert not new_name(tmp_path / "j").exists()


def test_a_damaged_one_is_left_to_undo(kernel: FakeKernel, tmp_path: Path) -> None:
    with filled(kernel, tmp_path / "j") as journal:
        journal.path.write_bytes(
            journal.path.read_bytes().replace(b"undo", b"odnu").replace(b'"mm"', b'"nn"', 1)
        )
        before = journal.path.read_bytes()
        whole(journal)
        assert journal.path.read_bytes() == before
        assert "is damaged" in journal.trouble


def test_what_had_begun_is_given_up_when_it_is_closed(kernel: FakeKernel, tmp_path: Path) -> None:
    journal = filled(kernel, tmp_path / "j")
    before = os.listdir("/proc/self/fd")
    journal.look(())
    while not new_name(journal.path).exists():
        journal.go_on(0)
    journal.close()
    assert not new_name(journal.path).exists()
    assert said(journal.path)[LIVING] == LEFT[LIVING]
    assert len(os.listdir("/proc/self/fd")) == len(before) - 2  # the file, and its directory


# ---- in the loop


@pytest.fixture
def loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[FakeKernel, type[Scripted], Live]]:
    monkeypatch.setattr(journal_module, "LEAST_BYTES", 4096)
    kernel, source = FakeKernel(tmp_path, mib=512, free_pages=(1 << 16, 1 << 16)), register(monkeypatch)
    install(kernel, monkeypatch)
    kernel.program(LIVING, [maps_line(START, 64)])
    kernel.populate(LIVING, 0, 64, 1)
    put(tmp_path, "sys/fs/cgroup/cgroup.procs", "1")
    put(tmp_path, "sys/fs/cgroup/some/cgroup.procs", f"{LIVING}")
    now = [10**12]
    options = {"freq_threshold": 1}
    with Journal(tmp_path / "journal", kernel.root) as journal:
        live = Live(
            kernel.root,
            LiveSettings(
                Targets(cgroups=("some",)),
                ("scripted",),
                policy_options=options,
                apply=True,
                tracked_bytes=1 << 30,
            ),
            journal,
            lambda: now[0],
        )
        live.start()
        tick = live.tick

        def later() -> None:
            now[0] += 1_000_000_000
            tick()

        monkeypatch.setattr(live, "tick", later)
        yield kernel, source, live


@pytest.mark.heavy
def test_programs_come_and_go_and_the_journal_does_not_grow(
    loop: tuple[FakeKernel, type[Scripted], Live], tmp_path: Path
) -> None:
    """Each of 120 programs has 150 scattered pages, which move; they write 30 KB in all."""
    kernel, source, live = loop
    assert live.journal is not None
    sizes, written = [], 0
    for pid in range(1000, 1120):
        kernel.program(pid, [maps_line(START, 1024)])
        for page in range(0, 900, 6):
            kernel.populate(pid, page, 1, 1)
        put(tmp_path, "sys/fs/cgroup/some/cgroup.procs", f"{LIVING}\n{pid}")
        live.tick()
        before = live.journal.bytes_written
        source.says.append([sightings_of(pid, addresses(0, 900)[::6].copy()) for _ in range(3)])
        live.tick()
        assert kernel.nodes_of(pid, addresses(0, 1)) == [0]
        written += max(0, live.journal.bytes_written - before)
        kernel.exit(pid)
        put(tmp_path, "sys/fs/cgroup/some/cgroup.procs", f"{LIVING}")
        for _ in range(3):
            live.tick()
        sizes.append(live.journal.bytes_written)
    assert written > 25_000
    assert max(sizes) < 12_000
    assert live.degraded == ()
    assert said(live.journal.path)[LIVING] == {(START >> 12) + page: 1 for page in range(64)}


def test_that_it_cannot_be_written_anew_or_has_lost_its_name_is_a_degraded_state(
    loop: tuple[FakeKernel, type[Scripted], Live],
) -> None:
    _, _, live = loop
    assert live.journal is not None
    live.journal.trouble = "no room"
    live.tick()
    assert [(each.part, each.problem) for each in live.degraded] == [("journal", "no room")]
    live.journal.trouble = ""
    live.journal.path.rename(live.journal.path.with_name("away"))
    live.tick()
    ((part, problem),) = [(each.part, each.problem) for each in live.degraded]
    assert part == "journal"
    assert f"{live.journal.path} lost its name" in problem
    live.journal.path.with_name("away").rename(live.journal.path)
    live.tick()
    assert live.degraded == ()
