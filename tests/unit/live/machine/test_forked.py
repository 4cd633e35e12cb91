"""Pages that a fork shares: moved where all who map them are tracked, and put back also when one of these has ended."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from builders.live_loop import START, FakeKernel, addresses, install, maps_line, mover, seen
from pghot.kernel.kpagecount import KPAGECOUNT
from pghot.kernel.watched import Space
from pghot.live.journal_file import read_journal
from pghot.live.machine.forked import sharers
from pghot.live.machine.spaces import Spaces
from pghot.live.undo import undo

PARENT, CHILD, STRANGER = 500, 501, 502
PAGES = 64
PRESENT = 1 << 63
NAME = "anonymous"  # a page that a fork shares is one of the fake kernel's files


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    made = FakeKernel(tmp_path)
    install(made, monkeypatch)
    return made


def forked(kernel: FakeKernel, frames: dict[int, list[int]]) -> None:
    """Programs with these page frames from `START` on, all on node 1; the kernel counts how often each is mapped."""
    counts = np.zeros(256, np.uint64)
    for pid, frame in frames.items():
        kernel.program(pid, [maps_line(START, PAGES)])
        with open(kernel.tree / f"proc/{pid}/pagemap", "r+b") as pagemap:
            pagemap.seek(8 * (START >> 12))
            pagemap.write(np.array([PRESENT | each if each else 0 for each in frame], np.uint64).tobytes())
        for page, each in enumerate(frame):
            if each:
                counts[each] += 1
                kernel.map_file(pid, NAME, each, 1, START + page * 4096, 1)
    (kernel.tree / KPAGECOUNT.lstrip("/")).write_bytes(counts.tobytes())


def test_by_frames_it_is_known_who_shares_a_page(kernel: FakeKernel) -> None:
    """The first page is the child's too, the second was copied, the third a stranger has, the fourth is not there."""
    forked(kernel, {PARENT: [10, 11, 12, 0], CHILD: [10, 21, 12, 0], STRANGER: [0, 0, 12, 0]})
    spaces = Spaces(kernel.root, 4)
    spaces.refresh([PARENT, CHILD])
    parent, child = spaces.spaces
    ours, having = sharers(kernel.root, parent, addresses(0, 4), [child])
    assert ours.tolist() == [True, True, False, False]
    assert {number: held.tolist() for number, held in having.items()} == {
        child.number: [True, False, True, False]
    }
    assert not sharers(kernel.root, parent, addresses(0, 4), [])[0][0], "a child that is not tracked"


def test_without_the_right_to_see_frames_nothing_is_known(kernel: FakeKernel) -> None:
    forked(kernel, {PARENT: [0], CHILD: [0]})  # hidden frames read as 0
    spaces = Spaces(kernel.root, 4)
    spaces.refresh([PARENT])
    (parent,) = spaces.spaces
    assert not sharers(kernel.root, parent, addresses(0, 1), [])[0].any()
    (kernel.tree / KPAGECOUNT.lstrip("/")).unlink()
    assert not sharers(kernel.root, parent, addresses(0, 1), [])[0].any()


def moved(kernel: FakeKernel) -> set[int]:
    return {int(page) for (_, page), node in kernel.node.items() if node == 0}


@pytest.mark.parametrize("ends", [None, PARENT, CHILD])
def test_shared_pages_move_once_and_come_back(kernel: FakeKernel, ends: int | None) -> None:
    frames = list(range(100, 100 + 16))
    forked(kernel, {PARENT: frames, CHILD: frames})
    with mover(kernel) as (machine, spaces):
        kernel.journal = None  # it looks for pages by their process, and these have two
        page = seen(machine, spaces, PARENT, addresses(0, 16))
        copies = seen(machine, spaces, CHILD, addresses(0, 16))
        assert len(machine.migrate(page, 0, "kmigrated").moved) == 16
        assert machine.counts.promoted == 16, "each was counted once"
        assert (machine.place[copies] == 0).all(), "known of the other, too"
        machine.migrate(copies, 0, "kmigrated")
        assert (machine.counts.promoted, len(kernel.moves)) == (16, 2), "they are there already"
    assert moved(kernel) == set(frames)
    if ends is not None:
        kernel.exit(ends)
    undone = undo(read_journal(kernel.tree / "j.pghot-journal"), kernel.root)
    assert moved(kernel) == set()
    assert (undone.pages_back, undone.pages_left) == (16, {})


def test_what_a_stranger_shares_is_left_alone(kernel: FakeKernel) -> None:
    frames = list(range(100, 100 + 16))
    forked(kernel, {PARENT: frames, STRANGER: frames[:8]})
    with mover(kernel, pids=[PARENT]) as (machine, spaces):
        kernel.journal = None
        page = seen(machine, spaces, PARENT, addresses(0, 16))
        machine.migrate(page, 0, "kmigrated")
        seen(machine, spaces, PARENT, addresses(0, 16))
        assert spaces.skipped["shared"] == 8
        assert machine.counts.status == {"EACCES": 8}
    assert moved(kernel) == set(frames[8:])


def test_a_relative_that_ended_is_no_error(kernel: FakeKernel) -> None:
    forked(kernel, {PARENT: [10], CHILD: [10]})
    spaces = Spaces(kernel.root, 4)
    spaces.refresh([PARENT, CHILD])
    parent, child = spaces.spaces
    kernel.exit(CHILD)
    gone: list[Space] = [child]
    assert sharers(kernel.root, parent, addresses(0, 1), gone)[0].tolist() == [False]
