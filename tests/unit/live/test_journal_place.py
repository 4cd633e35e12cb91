"""A journal in a directory of somebody else, who moves it, and lays links and other files under its names."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.live_loop import FakeKernel, addresses, maps_line, one_program, space_of
from builders.machine_trees import put
from pghot.errors import PghotError, UsageError
from pghot.kernel.knob_files import PROMOTE_RATE_LIMIT
from pghot.live import journal as journal_module
from pghot.live.journal import Journal, mark_undone
from pghot.live.journal_file import read_journal
from pghot.live.knobs import Knobs
from pghot.live.undo import undo_open

PID, START, PAGES = 500, 0x7F0000000000, 64
CALLS = (
    "open",
    "write",
    "fsync",
    "rename",
    "unlink",
    "close",
    "ftruncate",
    "fstat",
    "stat",
    "readlink",
    "mkdir",
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "LEAST_BYTES", 1)


@pytest.fixture
def kernel(tmp_path: Path) -> FakeKernel:
    kernel = FakeKernel(tmp_path / "machine")
    kernel.program(PID, [maps_line(START, PAGES)])
    return kernel


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A directory that others may write to; `d` in it is where the journal is."""
    (tmp_path / "theirs/d").mkdir(parents=True)
    (tmp_path / "theirs").chmod(0o777)
    return tmp_path / "theirs"


@pytest.fixture
def precious(tmp_path: Path, kernel: FakeKernel) -> dict[Path, bytes]:
    """Files of ours in a directory of ours, which have the names that pghot uses for a journal."""
    (tmp_path / "ours").mkdir()
    with Journal(tmp_path / "ours/j", kernel.root) as journal:
        journal.knob(PROMOTE_RATE_LIMIT, "65536", "0")
    mark_undone(tmp_path / "ours/j", read_journal(tmp_path / "ours/j").file)  # which may be replaced
    (tmp_path / "ours/j.new").write_text("precious")
    return files_in(tmp_path / "ours")


def files_in(place: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in place.iterdir()}


def whole_life(path: Path, kernel: FakeKernel) -> None:
    """It is made, written to, written anew, written to, and removed."""
    with Journal(path, kernel.root) as journal:
        for _ in range(2):
            journal.origins(space_of(PID), addresses(0, 3, START), np.ones(3, np.uint8))
            journal.look(())
            while journal._rewriting is not None:
                journal.go_on(0)
        assert journal.trouble == ""
        journal.discard()


def before_call(number: int, act: Callable[[], None], work: Callable[[], None]) -> bool:
    """Run `work`; before its system call of this number comes `act`. Whether it made so many."""
    count, made = 0, {name: getattr(os, name) for name in CALLS}

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                act()
            return call(*args, **more)

        return called

    with pytest.MonkeyPatch.context() as patch:
        for name, call in made.items():
            patch.setattr(os, name, watched(call))
        work()
    return count >= number


def test_a_directory_that_is_exchanged_before_any_system_call_gains_nothing(
    theirs: Path, precious: dict[Path, bytes], kernel: FakeKernel
) -> None:
    """Its name leads to a directory of ours from then on, in which nothing is written, renamed or removed."""
    ours, number, refused = next(iter(precious)).parent, 0, 0

    def exchange() -> None:
        made["rename"](theirs / "d", theirs / "e")
        os.symlink(ours, theirs / "d")

    made = {name: getattr(os, name) for name in CALLS}
    while True:
        number += 1
        try:
            reached = before_call(number, exchange, lambda: whole_life(theirs / "d/j", kernel))
        except UsageError as error:
            reached, refused = True, refused + (f"the way to the journal {theirs}/d/j leads to" in str(error))
        assert files_in(ours) == precious, number
        if not reached:
            break
        assert list((theirs / "e").iterdir()) == [], number
        (theirs / "d").unlink()
        (theirs / "e").rename(theirs / "d")
    assert number > 40
    assert 1 <= refused < number / 2


def test_a_loop_that_exchanges_it_all_the_time_gains_nothing(
    theirs: Path, precious: dict[Path, bytes], kernel: FakeKernel
) -> None:
    ours = next(iter(precious)).parent
    script = """
    import os, sys
    d, e, ours = sys.argv[1:]
    print("begins", flush=True)
    while True:
        os.rename(d, e)
        os.symlink(ours, d)
        os.unlink(d)
        os.rename(e, d)
    """
    words = [sys.executable, "-c", textwrap.dedent(script), theirs / "d", theirs / "e", ours]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as attacker:
        try:
            assert attacker.stdout is not None
            attacker.stdout.readline()
            lived = 0
            for _ in range(300):
                try:
                    whole_life(theirs / "d/j", kernel)
                    lived += 1
                except UsageError:  # it was away just then, or a link led to what is ours
                    continue
            assert files_in(ours) == precious
            assert lived > 0
        finally:
            attacker.kill()


def test_a_link_of_ours_may_lead_to_a_journal(tmp_path: Path, kernel: FakeKernel) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    whole_life(tmp_path / "link/j", kernel)
    whole_life(tmp_path / "link/../real/j", kernel)


def test_in_a_directory_of_others_itself_a_journal_may_be(theirs: Path, kernel: FakeKernel) -> None:
    (theirs / "d").chmod(0o777)
    whole_life(theirs / "d/j", kernel)


# ---- the file itself


@pytest.mark.parametrize("how", ["renamed", "removed", "directory renamed"])
def test_a_journal_that_lost_its_name_says_so_and_is_undone_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    kernel = one_program(tmp_path / "machine", monkeypatch, PID, PAGES)
    put(kernel.tree, PROMOTE_RATE_LIMIT, "65536")
    (tmp_path / "d").mkdir()
    with Journal(tmp_path / "d/j", kernel.root) as journal:
        knobs = Knobs(kernel.root, journal)
        knobs.set(PROMOTE_RATE_LIMIT, "0")
        journal.origins(space_of(PID), addresses(0, PAGES), np.ones(PAGES, np.uint8))
        kernel.move_pages(PID, addresses(0, PAGES), np.zeros(PAGES, np.int32))
        assert journal.moved == ""
        if how == "renamed":
            (tmp_path / "d/j").rename(tmp_path / "d/k")
        elif how == "removed":
            (tmp_path / "d/j").unlink()
        else:
            (tmp_path / "d").rename(tmp_path / "e")
        assert journal.moved.startswith(f"the journal {tmp_path}/d/j lost its name (it is {tmp_path}/")
        done = undo_open(journal, kernel.root)
        assert (done.pages_back, done.knobs) == (PAGES, [PROMOTE_RATE_LIMIT])
    assert set(kernel.node.values()) == {1}


def test_a_name_that_comes_back_is_no_trouble_any_more(tmp_path: Path, kernel: FakeKernel) -> None:
    with Journal(tmp_path / "j", kernel.root) as journal:
        (tmp_path / "j").rename(tmp_path / "k")
        assert "lost its name" in journal.moved
        (tmp_path / "k").rename(tmp_path / "j")
        assert journal.moved == ""
        journal.origins(space_of(PID), addresses(0, 3, START), np.ones(3, np.uint8))
        journal.look(())
        while journal._rewriting is not None:
            journal.go_on(0)
        assert journal.moved == ""  # the new file has the name
    assert journal.moved == ""


def test_what_has_the_name_of_a_journal_that_ends_stays(tmp_path: Path, kernel: FakeKernel) -> None:
    with Journal(tmp_path / "j", kernel.root):
        (tmp_path / "j").unlink()
        (tmp_path / "j").write_text("another")
    assert (tmp_path / "j").read_text() == "another"


def test_what_took_the_place_of_the_new_file_is_not_taken_for_it(tmp_path: Path, kernel: FakeKernel) -> None:
    with Journal(tmp_path / "j", kernel.root) as journal:
        journal.origins(space_of(PID), addresses(0, 3, START), np.ones(3, np.uint8))
        before = journal.path.read_bytes()
        journal.look(())
        while not (tmp_path / "j.new").exists():
            journal.go_on(0)
        (tmp_path / "j.new").unlink()
        (tmp_path / "j.new").write_text("another")
        while journal._rewriting is not None:
            journal.go_on(0)
        assert "another file took the name" in journal.trouble
        assert journal.path.read_bytes() == before
        assert journal.moved == ""


def test_what_took_the_place_of_a_journal_that_was_read_is_not_even_opened_to_write(
    tmp_path: Path, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening a device may act: a watchdog that is opened and closed restarts the machine."""
    with Journal(tmp_path / "j", kernel.root) as journal:
        journal.knob(PROMOTE_RATE_LIMIT, "65536", "0")
    which = read_journal(tmp_path / "j").file
    (tmp_path / "j").unlink()
    (tmp_path / "j").symlink_to("/dev/null")
    opened, flags_of = os.open, []

    def spied(path: object, flags: int, *how: object, **more: object) -> int:
        flags_of.append(flags)
        return opened(path, flags, *how, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", spied)
    with pytest.raises(PghotError, match="another file than the one that was read"):
        mark_undone(tmp_path / "j", which)
    assert flags_of
    assert all(flags & os.O_PATH for flags in flags_of)
