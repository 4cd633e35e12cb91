"""The journal and what is put back from it: damage, full disks, foreign changes, reused pids."""

from __future__ import annotations

import base64
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.journals import origins_of
from builders.live_loop import (
    ALWAYS,
    BOOT_ID,
    START,
    FakeKernel,
    addresses,
    maps_line,
    one_program,
    space_of,
)
from builders.machine_trees import put
from pghot.cli.main import run
from pghot.errors import NotPermittedError, PghotError, UnsupportedError, UsageError
from pghot.kernel.knob_files import PROMOTE_RATE_LIMIT, SCAN
from pghot.kernel.process import Identity
from pghot.kernel.sysroot import SysRoot
from pghot.live import journal as journal_module
from pghot.live.journal import Journal, mark_undone, runs_of
from pghot.live.journal_file import FORMAT, JournalFile, SpaceEntry, read_journal
from pghot.live.journal_lines import append_line
from pghot.live.journal_runs import RUN, pack
from pghot.live.knobs import Knobs, put_back
from pghot.live.run import journal_path
from pghot.live.undo import undo, undo_open
from pghot.sealed import seal

PID = 500
A, B = PROMOTE_RATE_LIMIT, f"{SCAN}/scan_size_mb"
PAGES = 64
NOWHERE_LIVE = SysRoot(Path("/no/such/tree"))

origins = st.dictionaries(st.integers(0, (1 << 51) - 1), st.integers(0, 254), max_size=40)
neighbours = st.dictionaries(st.integers(0, 30), st.integers(0, 2), max_size=25)


def written(path: Path, batches: list[tuple[int, dict[int, int]]]) -> None:
    """A journal of batches of (pid, {page number: node})."""
    with Journal(path, NOWHERE_LIVE) as journal:
        for pid, pages in batches:
            # In no order: the sections of a program that ended go to the next one in another.
            vpn, node = np.array(list(pages), np.uint64), np.array(list(pages.values()), np.uint8)
            journal.origins(space_of(pid, number=1, name="what? (sh)"), vpn * np.uint64(4096), node)


def first_of(batches: list[tuple[int, dict[int, int]]]) -> dict[int, dict[int, int]]:
    """What a journal of these batches should say: the first node of every page."""
    found: dict[int, dict[int, int]] = {}
    for pid, pages in batches:
        found[pid] = pages | found.get(pid, {})
    return found


# ---- round trip and damage


@given(st.lists(st.tuples(st.integers(1, 3), origins | neighbours), max_size=6))
def test_origins_come_back_and_the_first_of_each_page_counts(
    batches: list[tuple[int, dict[int, int]]],
) -> None:
    """The spaces all have the number 1, as after a reload of the daemon: their identities tell them apart."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "j"
        written(path, [*batches, (9, {5: 1})])
        journal = read_journal(path)
        expected = first_of([*batches, (9, {5: 1})])
        assert origins_of(journal) == {pid: pages for pid, pages in expected.items() if pages}
        assert journal.damaged == []
        assert not journal.undone


@given(neighbours)
def test_runs_cover_each_page_once(pages: dict[int, int]) -> None:
    vpn = np.array(sorted(pages), np.uint64)
    runs = runs_of(vpn, np.array([pages[each] for each in sorted(pages)], np.uint8))
    covered = {first + i: node for first, count, node in runs.tolist() for i in range(count)}
    assert covered == pages
    assert sum(run[1] for run in runs.tolist()) == len(pages)


SOME = [(1, {7: 1, 8: 1, 9: 0}), (2, {7: 0}), (1, {7: 0, 30: 2}), (2, {100: 1})]


def test_every_truncation_keeps_a_prefix(tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path, SOME)
    whole = path.read_bytes()
    kept = []
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        if length < len(whole.split(b"\n")[0]):
            with pytest.raises(UsageError, match="not a journal"):
                read_journal(path)
            continue
        journal = read_journal(path)
        prefixes = [{pid: pages for pid, pages in origins_of(journal).items() if pages}]
        assert prefixes[0] in [first_of(SOME[:count]) for count in range(len(SOME) + 1)]
        assert len(journal.damaged) <= 1
        kept.append(sum(len(pages) for pages in prefixes[0].values()))
    assert kept == sorted(kept)
    assert kept[-1] == sum(len(pages) for pages in first_of(SOME).values())


@given(st.data())
@settings(max_examples=300)
def test_a_changed_byte_is_damage_and_never_another_origin(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "j"
        written(path, SOME)
        raw = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(raw) - 2))
        line = raw[:at].count(b"\n")
        raw[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(bytes(raw))
        journal = read_journal(path)
        assert line + 1 in journal.damaged
        # Each line stands for itself, the first too: no other origin is lost (a newline holds two lines apart).
        spared = [batch for i, batch in enumerate(SOME, 1) if i not in (line, line + 1)]
        for pid, pages in first_of(spared).items():
            assert pages.keys() <= origins_of(journal)[pid].keys()
        rest = first_of(SOME)
        for pid, pages in origins_of(journal).items():
            for vpn, node in pages.items():
                # The first entry of a page may be the damaged one: a later one of the same page stands then.
                assert node in {batch[vpn] for who, batch in SOME if who == pid and vpn in batch}
                assert vpn in rest[pid]


def damage(path: Path, *numbers: int) -> None:
    """Change a letter of these lines, counted from 1."""
    lines = path.read_bytes().split(b"\n")
    for number in numbers:
        lines[number - 1] = lines[number - 1].replace(b'"kind"', b'"kinf"')
    path.write_bytes(b"\n".join(lines))


def test_a_damaged_line_loses_its_own_origins_only(tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path, SOME)
    damage(path, 1, 2)
    journal = read_journal(path)
    assert origins_of(journal) == {2: {7: 0, 100: 1}, 1: {7: 0, 30: 2}}
    assert journal.damaged == [1, 2]
    assert journal.writer[0] == os.getpid()


def test_a_journal_without_its_beginning_says_so(tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path, SOME)
    path.write_bytes(path.read_bytes().partition(b"\n")[2])
    journal = read_journal(path)
    assert origins_of(journal) == first_of(SOME)
    assert journal.damaged == [1]


def test_lines_of_another_journal_are_not_ours(kernel: FakeKernel, tmp_path: Path) -> None:
    """As when a block of the file system comes back from an older file."""
    promoted(kernel, tmp_path / "j")
    put(tmp_path, "proc/sys/kernel/random/boot_id", BOOT_ID.replace("1", "2"))
    promoted(kernel, tmp_path / "other")
    old = (tmp_path / "other").read_bytes().split(b"\n")[1]
    (tmp_path / "j").write_bytes((tmp_path / "j").read_bytes() + old + b"\n")
    assert read_journal(tmp_path / "j").damaged == [3]


@pytest.mark.parametrize("text", ["", "x", "[1]\n", "\x00\xff", '00000000 {"kind":"journal"}\n'])
def test_other_files_are_no_journals(tmp_path: Path, text: str) -> None:
    (tmp_path / "j").write_text(text, "latin-1")
    with pytest.raises(UsageError, match="not a journal"):
        read_journal(tmp_path / "j")


def test_what_cannot_be_read_or_is_of_a_later_format(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_journal(tmp_path / "none")
    with pytest.raises(UsageError, match="directory"):
        read_journal(tmp_path)
    fd = os.open(tmp_path / "later", os.O_CREAT | os.O_WRONLY)
    append_line(fd, tmp_path / "later", {"kind": "journal", "format": FORMAT + 1})
    os.close(fd)
    with pytest.raises(UsageError, match=f"format {FORMAT + 1}"):
        read_journal(tmp_path / "later")


@pytest.mark.parametrize("format_", range(1, FORMAT))
def test_a_journal_of_an_earlier_format_is_left_to_the_pghot_that_wrote_it(
    tmp_path: Path, format_: int
) -> None:
    facts = {"kind": "journal", "format": format_, "boot_id": BOOT_ID, "writer": [1, 1]}
    (tmp_path / "j").write_text(seal(facts) + "\n")
    with pytest.raises(UsageError, match=f"j has format {format_}, this pghot reads {FORMAT}") as caught:
        read_journal(tmp_path / "j")
    assert caught.value.hint == "use the pghot that wrote it"


def test_a_journal_without_a_pid_namespace_is_read(tmp_path: Path) -> None:
    """A pghot before containers were told apart wrote none."""
    facts = {"kind": "journal", "format": FORMAT, "boot_id": BOOT_ID, "writer": [1, 1]}
    (tmp_path / "j").write_text(seal(facts) + "\n" + seal(facts | {"pid_namespace": "x"}) + "\n")
    found = read_journal(tmp_path / "j")
    assert (found.pid_namespace, found.damaged) == ("", [])


NO_KNOBS = (
    "/etc/passwd",
    "/sys/../etc/passwd",
    "",
    "proc/x",
    "/proc/self/root/etc/passwd",
    "/proc/1/mem",
    "/sys/\0",
)


def runs_text(*runs: tuple[int, int, int]) -> str:
    return base64.b64encode(pack(np.array(list(runs), RUN))).decode()


def test_a_writer_that_is_no_number(tmp_path: Path) -> None:
    facts = {"kind": "journal", "format": FORMAT, "boot_id": BOOT_ID, "writer": [float("inf"), 1]}
    (tmp_path / "j").write_text(seal(facts) + "\n")
    with pytest.raises(UsageError, match="is not a journal"):
        read_journal(tmp_path / "j")


def test_a_device_or_a_pipe_is_no_journal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/null", str(tmp_path / "pipe")):
        assert run(["undo", path]) == 2
        assert "not a regular file" in capsys.readouterr().err
    assert run(["undo", str(tmp_path)]) == 2
    assert "Is a directory" in capsys.readouterr().err


def test_a_journal_of_another_users_is_not_believed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j"
    written(path, [(1, {7: 1})])
    monkeypatch.setattr(journal_module.os, "geteuid", lambda: 12345)
    if path.stat().st_uid == 0:
        os.chown(path, 54321, -1)
    assert run(["undo", str(path)]) == 2
    assert "belongs to another user" in capsys.readouterr().err


def test_lines_of_unknown_kinds_and_forms_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path, [(1, {7: 1})])
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    session = json.loads(path.read_text().split("\n")[1].partition(" ")[2])
    who = {"kind": "origins", "pid": 1, "start_ticks": 1, "mm": [1, 2, 3], "name": "", "runs": ""}
    file = {
        "kind": "file_origins",
        "device": 1,
        "inode": 7,
        "born_ns": 0,
        "name": "",
        "runs": runs_text((7, 1, 1)),
    }
    wrong: list[dict[str, object]] = [
        {"kind": "wish"}, {}, {"kind": "knob"}, {"kind": "origins", "runs": ""}, who | {"runs": "!"},
        who | {"runs": "AAAA"},
        who | {"runs": runs_text((7, 0, 1))}, who | {"runs": runs_text()},
            who | {"pid": []}, who | {"mm": [1]}, {"kind": "knob", "boot_id": "another"},
        {"kind": "knob", "writer": 5}, {"kind": "knob", "format": 1},
        who | {"pid": float("inf"), "runs": runs_text((7, 1, 1))}, who | {"runs": runs_text((7, 1, 255))},
        who | {"runs": runs_text((1 << 52, 1, 1))}, who | {"runs": runs_text(*[(7, (1 << 32) - 1, 1)] * 4)},
        file | {"device": 1 << 32}, file | {"device": -1}, file | {"inode": 1 << 64}, file | {"inode": "7"},
        file | {"born_ns": 1 << 63}, file | {"born_ns": 1.5}, file | {"born_ns": None}, file | {"inode": []},
        file | {"runs": runs_text((1 << 52, 1, 1))}, {name: file[name] for name in file if name != "inode"},
        *({"kind": "knob", "old": "0", "new": "1", "path": path} for path in NO_KNOBS),
    ]  # fmt: skip
    common = {name: session[name] for name in ("format", "boot_id", "writer")}
    for facts in wrong:
        append_line(fd, path, common | facts)
    os.close(fd)
    journal = read_journal(path)
    assert len(journal.damaged) == len(wrong)
    assert origins_of(journal) == {1: {7: 1}}
    assert journal.files == []


# ---- making and writing


def test_a_device_is_no_place_for_a_journal() -> None:
    with pytest.raises(UsageError, match="/dev/full is not a regular file") as caught:
        Journal(Path("/dev/full"), NOWHERE_LIVE)
    assert "name another" in caught.value.hint


def test_a_journal_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "j").write_text("precious")
    with pytest.raises(UsageError, match="exists already") as caught:
        Journal(tmp_path / "j", NOWHERE_LIVE)
    assert "pghot undo" in caught.value.hint
    assert (tmp_path / "j").read_text() == "precious"


def test_where_no_journal_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot make the journal .*Not a directory"):
        Journal(tmp_path / "file" / "j", NOWHERE_LIVE)

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(journal_module.os, "open", refuse)
    with pytest.raises(NotPermittedError, match="Permission denied"):
        Journal(tmp_path / "j", NOWHERE_LIVE)


def test_only_the_owner_reads_it_and_an_empty_one_is_not_left(tmp_path: Path) -> None:
    with Journal(tmp_path / "a" / "j", NOWHERE_LIVE) as journal:
        assert journal.path.stat().st_mode & 0o777 == 0o600
    assert not journal.path.exists()
    with Journal(tmp_path / "k", NOWHERE_LIVE) as journal:
        journal.knob(A, "0", "1")
    assert journal.path.exists()
    with Journal(tmp_path / "l", NOWHERE_LIVE) as journal:
        journal.knob(A, "0", "1")
        journal.discard()
    journal.close()
    assert not journal.path.exists()


def test_a_short_write_is_cut_off_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(tmp_path / "j", NOWHERE_LIVE) as journal:
        journal.knob(A, "0", "1")
        size = journal.path.stat().st_size
        write = os.write
        monkeypatch.setattr(journal_module.os, "write", lambda fd, data: write(fd, data[: len(data) // 2]))
        with pytest.raises(PghotError, match="No space left") as caught:
            journal.knob(B, "256", "64")
        monkeypatch.undo()
        assert caught.value.exit_code == 1
        assert "make room" in caught.value.hint
        assert journal.path.stat().st_size == size
        journal.knob(B, "256", "64")
        assert [path for path, _, _ in read_journal(journal.path).knobs] == [A, B]


def fill(journal: Journal) -> None:
    for number in range(100):
        journal.knob(A, str(number), "1")


def test_a_real_limit_of_the_file_size(tmp_path: Path) -> None:
    """RLIMIT_FSIZE gives short writes, then EFBIG: as a full disk does with ENOSPC."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with Journal(tmp_path / "j", NOWHERE_LIVE) as journal:
            size = journal.path.stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 250, before[1]))
            with pytest.raises(PghotError, match="cannot write the journal"):
                fill(journal)
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            found = read_journal(journal.path)
            assert found.damaged == []
            assert 1 <= len(found.knobs) < 100
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


# ---- knobs


def knobs_of(tmp_path: Path, journal: Journal | None) -> Knobs:
    put(tmp_path, A, "65536")
    put(tmp_path, B, "256")
    return Knobs(SysRoot(tmp_path), journal)


def test_knobs_are_written_down_first_and_put_back_in_reverse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = SysRoot(tmp_path)
    with Journal(tmp_path / "j", root) as journal:
        knobs = knobs_of(tmp_path, journal)
        order: list[tuple[str, str]] = []
        write = SysRoot.write

        def spied(self: SysRoot, name: str, text: str) -> None:
            known = [(path, new) for path, _, new in read_journal(journal.path).knobs]
            assert order or (name, text) in known
            order.append((name, text))
            write(self, name, text)

        monkeypatch.setattr(SysRoot, "write", spied)
        knobs.set(A, "1")
        knobs.set(B, "2")
        knobs.set(A, "3")
        knobs.set(B, "2")  # is so already: no change
        assert len(read_journal(journal.path).knobs) == 3
        assert knobs.restore() == []
        assert order[3:] == [(B, "256"), (A, "65536")]
        assert knobs.restore() == []
        assert len(order) == 5


def test_the_same_values_again_and_again_make_no_journal_grow(tmp_path: Path) -> None:
    root = SysRoot(tmp_path)
    with Journal(tmp_path / "j", root) as journal:
        knobs = knobs_of(tmp_path, journal)
        for value in ("1", "2", "3"):
            knobs.set(A, value)
        size = journal.path.stat().st_size
        for value in ("1", "65536", "2", "3", "1"):
            knobs.set(A, value)
            assert put_back(root, read_journal(journal.path).knobs)[1] == []  # as undo would after a kill
            assert root.read(A) == "65536"
        assert journal.path.stat().st_size == size
        knobs.set(A, "2")
        assert knobs.restore() == []
        assert root.read(A) == "65536"


def test_a_value_that_somebody_else_gave_is_the_one_to_put_back(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", SysRoot(tmp_path)) as journal:
        knobs = knobs_of(tmp_path, journal)
        knobs.set(A, "1")
        put(tmp_path, A, "77")
        knobs.set(A, "1")
        assert read_journal(journal.path).knobs[-1] == (A, "77", "1")
        assert knobs.restore() == []
        assert SysRoot(tmp_path).read(A) == "77"


def test_what_somebody_else_changed_is_left_alone_and_named(tmp_path: Path) -> None:
    knobs = knobs_of(tmp_path, None)
    knobs.set(A, "1")
    knobs.set(B, "2")
    put(tmp_path, B, "77")
    (problem,) = knobs.restore()
    assert f"{B} is '77'" in problem
    assert "'256'" in problem
    assert SysRoot(tmp_path).read(B) == "77"
    assert SysRoot(tmp_path).read(A) == "65536"


def test_knobs_that_vanish_or_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    knobs = knobs_of(tmp_path, None)
    knobs.set(A, "1")
    knobs.set(B, "2")
    SysRoot(tmp_path).path(A).unlink()

    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(SysRoot, "write", refuse)
    (problem,) = knobs.restore()
    assert f"{B} could not be put back" in problem
    with pytest.raises(PghotError, match=f"cannot write '3' to {B}: Invalid"):
        knobs.set(B, "3")
    with pytest.raises(UnsupportedError, match=f"no {A}"):
        knobs.set(A, "1")
    SysRoot(tmp_path).path(B).unlink()
    SysRoot(tmp_path).path(B).mkdir()
    with pytest.raises(NotPermittedError, match=f"cannot read {B}"):
        knobs.set(B, "1")


def test_a_knob_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    knobs = knobs_of(tmp_path, None)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(SysRoot, "write", refuse)
    with pytest.raises(NotPermittedError, match=f"not permitted to write {A}"):
        knobs.set(A, "1")
    assert knobs.restore() == []


def test_without_room_in_the_journal_no_knob_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(tmp_path / "j", SysRoot(tmp_path)) as journal:
        knobs = knobs_of(tmp_path, journal)
        monkeypatch.setattr(journal_module.os, "write", lambda fd, data: 0)
        with pytest.raises(PghotError, match="No space left"):
            knobs.set(A, "1")
        monkeypatch.undo()
    assert SysRoot(tmp_path).read(A) == "65536"


# ---- undo


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """A program whose 64 pages were on node 1 and are on node 0 now, but for the first four."""
    return one_program(tmp_path, monkeypatch, PID, PAGES)


def promoted(kernel: FakeKernel, path: Path, pid: int = 1 << 22) -> JournalFile:
    """The journal of another pghot (`pid`, dead unless a test says otherwise) that moved most of it to node 0."""
    with Journal(path, kernel.root) as journal:
        journal.origins(space_of(PID), addresses(0, PAGES), np.full(PAGES, 1, np.uint8))
    kernel.move_pages(PID, addresses(4, PAGES - 4), np.zeros(PAGES - 4, np.int32))
    found = read_journal(path)
    found.writer = (pid, found.writer[1])
    return found


def test_pages_go_home_and_a_second_time_is_harmless(kernel: FakeKernel, tmp_path: Path) -> None:
    journal = promoted(kernel, tmp_path / "j")
    steps: list[tuple[int, int]] = []
    done = undo(journal, kernel.root, lambda *step: steps.append(step))
    assert (done.pages_back, done.pages_home, done.pages_gone) == (PAGES - 4, 4, 0)
    assert done.complete
    assert steps == [(PAGES, PAGES)]
    assert set(kernel.node.values()) == {1}
    assert read_journal(tmp_path / "j").undone
    again = undo(journal, kernel.root)
    assert (again.pages_back, again.pages_home) == (0, PAGES)
    assert json.loads(json.dumps(again.facts()))["schema"] == "pghot.undo/1"


def test_gone_busy_and_shared_pages_are_counted(kernel: FakeKernel, tmp_path: Path) -> None:
    journal = promoted(kernel, tmp_path / "j")
    keys = sorted(kernel.node)
    for key in keys[10:13]:
        kernel.unmap(key)
    kernel.busy = {keys[20]: 2, keys[21]: ALWAYS}  # the first lets go in time
    kernel.shared = {keys[22]}
    done = undo(journal, kernel.root)
    assert done.pages_gone == 3
    assert done.pages_left == {f"{PID} (program)": 2}
    assert done.pages_back == PAGES - 4 - 3 - 2
    assert not done.complete
    assert not read_journal(tmp_path / "j").undone
    kernel.busy, kernel.shared = {}, set()
    assert undo(journal, kernel.root).pages_back == 2


@pytest.mark.parametrize("change", [{"start_ticks": 7}, {"code": 99}, {"state": "Z"}])
def test_another_program_under_the_pid_is_not_touched(
    kernel: FakeKernel, tmp_path: Path, change: dict[str, object]
) -> None:
    journal = promoted(kernel, tmp_path / "j")
    calls = len(kernel.moves)
    kernel.program(PID, [maps_line(START, PAGES)], **change)  # type: ignore[arg-type]
    done = undo(journal, kernel.root)
    assert done.processes_gone == [f"{PID} (program)"]
    assert done.complete
    assert len(kernel.moves) == calls


def test_a_program_that_ended(kernel: FakeKernel, tmp_path: Path) -> None:
    journal = promoted(kernel, tmp_path / "j")
    kernel.exit(PID)
    assert undo(journal, kernel.root).processes_gone == [f"{PID} (program)"]


@pytest.mark.parametrize("code", [errno.ESRCH, errno.EINVAL])
def test_a_program_that_ends_meanwhile(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    journal = promoted(kernel, tmp_path / "j")

    def gone(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("pghot.live.undo.query_nodes", gone)
    assert undo(journal, kernel.root).processes_gone == [f"{PID} (program)"]


def test_a_program_of_somebody_else(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = promoted(kernel, tmp_path / "j")

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("pghot.live.undo.query_nodes", refuse)
    with pytest.raises(NotPermittedError, match=f"process {PID}") as caught:
        undo(journal, kernel.root)
    assert "CAP_SYS_PTRACE" in caught.value.hint


def test_a_refused_move_leaves_the_pages_and_says_so(kernel: FakeKernel, tmp_path: Path) -> None:
    journal = promoted(kernel, tmp_path / "j")
    kernel.fails = {PID: errno.EACCES}
    assert undo(journal, kernel.root).pages_left == {f"{PID} (program)": PAGES - 4}


def test_while_the_writer_runs_nothing_is_undone(kernel: FakeKernel, tmp_path: Path) -> None:
    kernel.program(900, [], comm="pghot", start_ticks=0)
    journal = promoted(kernel, tmp_path / "j", pid=900)
    with pytest.raises(UsageError, match=r"still runs \(pid 900\)"):
        undo(journal, kernel.root)
    kernel.program(900, [], comm="other", start_ticks=5)
    assert undo(journal, kernel.root).complete


def test_after_a_boot_there_is_nothing_to_put_back(kernel: FakeKernel, tmp_path: Path) -> None:
    journal = promoted(kernel, tmp_path / "j")
    put(tmp_path, "proc/sys/kernel/random/boot_id", BOOT_ID.replace("1", "2"))
    done = undo(journal, kernel.root)
    assert done.pages_back == 0
    assert "rebooted" in done.nothing
    Journal(tmp_path / "j", kernel.root).close()  # what is on a disk does not keep the daemon from starting


def test_damage_is_a_problem_and_the_rest_is_put_back(kernel: FakeKernel, tmp_path: Path) -> None:
    promoted(kernel, tmp_path / "j")
    with (tmp_path / "j").open("a") as file:
        file.write("rubbish\n")
    journal = read_journal(tmp_path / "j")
    done = undo(journal, kernel.root)
    assert done.pages_back == PAGES - 4
    assert "line 3 of the journal cannot be read" in done.problems[0]
    assert f"then remove {tmp_path / 'j'}" in done.problems[0]
    assert not done.complete
    assert not read_journal(tmp_path / "j").undone


def test_without_its_first_line_a_journal_is_undone_all_the_same(kernel: FakeKernel, tmp_path: Path) -> None:
    """Pages and knobs go back; which boot and whose journal it is, each line says."""
    put(tmp_path, A, "0")
    with Journal(tmp_path / "j", kernel.root) as journal:
        journal.knob(A, "65536", "0")
        journal.origins(space_of(PID), addresses(0, PAGES), np.full(PAGES, 1, np.uint8))
    kernel.move_pages(PID, addresses(0, PAGES), np.zeros(PAGES, np.int32))
    damage(tmp_path / "j", 1)
    kernel.program(os.getpid() + 1, [], comm="pghot", start_ticks=0)
    running = read_journal(tmp_path / "j")
    running.writer = (os.getpid() + 1, 0)
    with pytest.raises(UsageError, match="still runs"):
        undo(running, kernel.root)
    done = undo(read_journal(tmp_path / "j"), kernel.root)
    assert (done.pages_back, done.knobs, len(done.problems)) == (PAGES, [A], 1)
    assert kernel.root.read(A) == "65536"
    put(tmp_path, "proc/sys/kernel/random/boot_id", BOOT_ID.replace("1", "2"))
    assert "rebooted" in undo(read_journal(tmp_path / "j"), kernel.root).nothing


def test_knobs_of_a_journal_go_back_too(kernel: FakeKernel, tmp_path: Path) -> None:
    put(tmp_path, A, "65536")
    with Journal(tmp_path / "j", kernel.root) as journal:
        Knobs(kernel.root, journal).set(A, "0")
        done = undo_open(journal, kernel.root)
    assert done.knobs == [A]
    assert kernel.root.read(A) == "65536"
    assert read_journal(tmp_path / "j").undone


def test_a_journal_that_cannot_be_marked_is_no_failure(kernel: FakeKernel, tmp_path: Path) -> None:
    journal = promoted(kernel, tmp_path / "j")
    (tmp_path / "j").unlink()
    assert undo(journal, kernel.root).complete
    with pytest.raises(OSError, match="No such file"):
        mark_undone(tmp_path / "j", journal.file)


@pytest.mark.parametrize("link", [False, True])
def test_a_file_that_took_the_journals_place_is_not_written_to(
    kernel: FakeKernel, tmp_path: Path, link: bool
) -> None:
    """Root undoes a journal of its own in somebody else's directory, who swaps it meanwhile."""
    journal = promoted(kernel, tmp_path / "j")
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "j").unlink()
    if link:
        (tmp_path / "j").symlink_to(tmp_path / "precious")
    else:
        (tmp_path / "precious").rename(tmp_path / "j")
    assert undo(journal, kernel.root).complete
    assert (tmp_path / "j").read_text() == "precious"


def test_a_program_of_somebody_else_does_not_keep_the_others_away(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.program(PID + 1, [maps_line(START, 8)])
    kernel.populate(PID + 1, 0, 8, 0)
    with Journal(tmp_path / "j", kernel.root) as journal:
        journal.origins(space_of(PID), addresses(0, PAGES), np.full(PAGES, 1, np.uint8))
        journal.origins(space_of(PID + 1), addresses(0, 8), np.ones(8, np.uint8))

    def query(pid: int, address: np.ndarray) -> np.ndarray:
        if pid == PID:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return kernel.query_nodes(pid, address)

    monkeypatch.setattr("pghot.live.undo.query_nodes", query)
    with pytest.raises(NotPermittedError, match=f"process {PID}"):
        undo(read_journal(tmp_path / "j"), kernel.root)
    assert set(kernel.nodes_of(PID + 1, addresses(0, 8))) == {1}
    assert not read_journal(tmp_path / "j").undone


def test_two_spaces_of_one_journal_get_their_own_pages_back(kernel: FakeKernel, tmp_path: Path) -> None:
    """Both have the number 1, as the daemon's first program before and after a reload."""
    kernel.program(PID + 1, [maps_line(START, 8)])
    kernel.populate(PID + 1, 0, 8, 0)
    with Journal(tmp_path / "j", kernel.root) as journal:
        journal.origins(space_of(PID), addresses(0, PAGES), np.full(PAGES, 1, np.uint8))
        journal.origins(space_of(PID + 1), addresses(0, 8), np.zeros(8, np.uint8))
    kernel.move_pages(PID, addresses(0, PAGES), np.zeros(PAGES, np.int32))
    kernel.move_pages(PID + 1, addresses(0, 8), np.ones(8, np.int32))
    done = undo(read_journal(tmp_path / "j"), kernel.root)
    assert done.pages_back == PAGES + 8
    assert set(kernel.nodes_of(PID, addresses(0, PAGES))) == {1}
    assert set(kernel.nodes_of(PID + 1, addresses(0, 8))) == {0}


def test_an_entry_without_origins_has_none() -> None:
    entry = SpaceEntry(Identity(1, 1, (0, 0, 0)), "x")
    assert [part.tolist() for part in entry.origins()] == [[], []]


def test_on_this_machine_pages_of_a_real_child_are_home(tmp_path: Path) -> None:
    """One node: nothing can be away, but /proc, move_pages and the identity are real."""
    code = (
        "import ctypes,mmap,sys\nm=mmap.mmap(-1,8*4096,flags=mmap.MAP_PRIVATE|mmap.MAP_ANONYMOUS)\n"
        "m[:]=b'x'*len(m)\nprint(ctypes.addressof(ctypes.c_char.from_buffer(m)),flush=True)\nsys.stdin.read()"
    )
    from pghot.kernel.process import read_stat

    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        start = int(child.stdout.readline())
        root = SysRoot()
        space = space_of(child.pid)
        space = type(space)(1, read_stat(root, child.pid).identity, "child", space.start, space.end)
        with Journal(tmp_path / "j", root) as journal:
            journal.origins(space, addresses(0, 8, start), np.zeros(8, np.uint8))
            done = undo_open(journal, root)
            assert (done.pages_back, done.pages_home, done.pages_gone) == (0, 8, 0)
        assert read_journal(tmp_path / "j").writer == (
            os.getpid(),
            read_stat(root, os.getpid()).identity.start_ticks,
        )
        child.kill()
        child.wait()
        assert undo(read_journal(tmp_path / "j"), root).processes_gone == [f"{child.pid} (child)"]


@pytest.mark.parametrize(
    ("user", "runtime", "place"),
    [
        (0, "/run/user/0", "/run/pghot"),
        (7, "/run/user/7", "/run/user/7/pghot"),
        (7, "", "/tmp/pghot-7"),
        (7, None, "/tmp/pghot-7"),
    ],
)
def test_where_a_journal_goes_when_nobody_says(
    user: int, runtime: str | None, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    made: list[Path] = []
    monkeypatch.setattr("pghot.live.run.private_directory", lambda path, mode: made.append(path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    if runtime is not None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    assert journal_path(None, "run") == Path(place, f"run-{os.getpid()}.pghot-journal")
    assert journal_path(Path("mine"), "run") == Path("mine")
    assert made == [Path(place)]
