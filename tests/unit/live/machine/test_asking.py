"""A program so large that the kernel takes seconds to say what its owner bound: the loop does not wait for the answer.

A file of /proc that takes long to read is a pipe here: its answer comes when the test writes it.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from builders.live_loop import START, FakeKernel, addresses, install, maps_line, register
from builders.machine_trees import put
from pghot.kernel.maps import MappingKind
from pghot.live.journal import Journal
from pghot.live.journal_file import read_journal
from pghot.live.live_settings import LiveSettings
from pghot.live.loop import Live
from pghot.live.machine.spaces import Spaces
from pghot.live.sources.access_source import sightings_of
from pghot.live.status import status
from pghot.live.targets import Targets
from pghot.report.live_text import skipped
from waiting import until

PID, SMALL = 500, 600
LARGE_PAGES = 3 << 18  # 3 GiB


@pytest.fixture
def kernel(tmp_path: Path) -> FakeKernel:
    made = FakeKernel(tmp_path)
    for pid in (PID, SMALL):
        made.program(
            pid, [maps_line(START, 64), maps_line(START + 64 * 4096, 64, "rw-s", 7, "/dev/shm/x", "00:01")]
        )
        made.populate(pid, 0, 64, 1)
    put(made.tree, f"proc/{PID}/statm", f"{LARGE_PAGES} {LARGE_PAGES} 0 0 0 0 0")
    return made


def slow(kernel: FakeKernel, name: str) -> Path:
    path = kernel.tree / f"proc/{PID}/{name}"
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def answer(path: Path, text: str) -> None:
    """Whoever reads it gets this; later readers find a file."""
    with open(path, "w") as pipe:
        path.unlink()
        path.write_text(text)
        pipe.write(text)


def movable(spaces: Spaces, pid: int, first: int = 0) -> bool:
    return bool(spaces.lookup(np.full(8, pid, np.int32), addresses(first, 8))[1].all())


@pytest.mark.parametrize(
    "text, moves", [(f"{START:x} bind:1 anon=64", False), (f"{START:x} default anon=64", True)]
)
def test_memory_of_a_large_program_waits_until_its_policies_are_known(
    kernel: FakeKernel, text: str, moves: bool
) -> None:
    pipe = slow(kernel, "numa_maps")
    spaces = Spaces(kernel.root, 8)
    spaces.refresh([PID, SMALL])
    assert movable(spaces, SMALL), "a small one is asked at once"
    assert movable(spaces, SMALL, 64)
    assert not movable(spaces, PID)
    assert not movable(spaces, PID, 64), "shared memory, too"
    assert spaces.skipped["policy_unknown"] == 16
    assert spaces.policy_unknown_bytes() == LARGE_PAGES * 4096
    assert [spaces.knows_policies(number) for number in (1, 2)] == [False, True]
    assert len(spaces.spaces[0].start) == 0
    kernel.program(PID, [maps_line(START, 80)])  # meanwhile
    spaces.refresh([PID, SMALL])
    assert not movable(spaces, PID)
    answer(pipe, text)
    until(lambda: spaces.refresh([PID, SMALL]) and spaces.knows_policies(1), "an answer")
    assert movable(spaces, PID) == moves
    assert spaces.policy_unknown_bytes() == 0
    assert spaces.bound_bytes() == (0 if moves else 80 * 4096)


def test_many_programs_of_middle_size_are_asked_at_once_only_as_far_as_a_round_allows(
    kernel: FakeKernel,
) -> None:
    """Each of nine has 0.5 GiB, which takes 11.5 ms: four of them fit into 50 ms."""
    pids = range(700, 709)
    for pid in pids:
        kernel.program(pid, [maps_line(START, 64)])
        put(kernel.tree, f"proc/{pid}/statm", f"{1 << 17} {1 << 17} 0 0 0 0 0")
    spaces = Spaces(kernel.root, 16)
    spaces._asking.ask_beside = lambda *_: None  # type: ignore[method-assign]
    spaces.refresh(pids)
    assert [spaces.knows_policies(number) for number in range(1, 10)] == [True] * 4 + [False] * 5


def test_the_answer_for_a_program_that_became_another_is_not_taken(kernel: FakeKernel) -> None:
    pipe = slow(kernel, "numa_maps")
    spaces = Spaces(kernel.root, 8)
    spaces.refresh([PID])
    kernel.program(PID, [maps_line(START, 64)], code=77)
    answer(pipe, f"{START:x} bind:1 anon=64")
    put(kernel.tree, f"proc/{PID}/numa_maps", f"{START:x} default anon=64")
    until(lambda: not spaces._asking.busy, "the end of the question")
    spaces.refresh([PID])
    until(lambda: spaces.refresh([PID]) and spaces.knows_policies(2), "an answer for the new one")
    assert movable(spaces, PID)


def test_a_large_program_has_large_folios_until_it_was_asked(kernel: FakeKernel) -> None:
    spaces = Spaces(kernel.root, 8)
    pipe = slow(kernel, "smaps_rollup")
    until(lambda: spaces.refresh([PID, SMALL]) and spaces.knows_policies(1), "an answer")
    assert spaces.has_huge_pages(1), "a guess"
    assert not spaces.has_huge_pages(2)
    until(lambda: spaces.refresh([PID, SMALL]) and spaces._asking.busy, "the next question")
    answer(pipe, "AnonHugePages:         0 kB")
    until(lambda: spaces.refresh([PID, SMALL]) and not spaces.has_huge_pages(1), "an answer")


def test_a_run_starts_and_ends_while_a_program_is_being_asked(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounds go on; origins of the other program are written down, sources start after all answers."""
    pipe, source = slow(kernel, "numa_maps"), register(monkeypatch)
    install(kernel, monkeypatch)
    clock = [10**12]
    journal = Journal(kernel.tree / "journal", kernel.root)
    settings = LiveSettings(Targets((PID, SMALL)), ("scripted",), apply=True)
    live = Live(kernel.root, settings, journal, lambda: clock[0])

    def round_() -> None:
        clock[0] += 1_000_000_000
        live.tick()

    def origins() -> set[int]:
        return {entry.identity.pid for entry in read_journal(journal.path).spaces}  # type: ignore[union-attr]

    live.start()
    round_()
    assert live.surveying
    assert origins() == {SMALL}
    told = status(live)["counters"]
    assert told["pghot_policy_unknown_bytes"] == LARGE_PAGES * 4096
    assert "waits: 3.0 GiB of programs that are being asked which memory is bound" in skipped(told)
    answer(pipe, f"{START:x} default anon=64")
    until(lambda: round_() or not live.surveying, "the end of the survey")  # type: ignore[func-returns-value]
    assert origins() == {SMALL, PID}
    source.says.append([sightings_of(PID, addresses(0, 4))])
    round_()
    page, _ = live.spaces.lookup(np.full(4, PID, np.int32), addresses(0, 4))
    assert (live.spaces.pages.heats(page) > 0).all()
    assert (live.spaces.pages.kind[page] == MappingKind.MOVABLE).all()
    assert live.stop() == []


def test_a_run_that_ends_meanwhile_does_not_wait(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = slow(kernel, "numa_maps")
    register(monkeypatch)
    install(kernel, monkeypatch)
    for pid in range(700, 710):
        kernel.program(pid, [maps_line(START, 64)])
        put(kernel.tree, f"proc/{pid}/statm", f"{LARGE_PAGES} {LARGE_PAGES} 0 0 0 0 0")
    asked: list[int] = []
    read = "pghot.live.machine.asking.read_policies"
    monkeypatch.setattr(read, lambda root, pid: asked.append(pid) or root.read(f"/proc/{pid}/numa_maps"))
    live = Live(kernel.root, LiveSettings(Targets((PID, *range(700, 710))), ("scripted",)), None)
    live.start()
    until(lambda: asked, "the first question")
    assert live.stop() == []
    answer(pipe, "")
    until(lambda: not live.spaces._asking.busy, "the end of the question")
    assert asked == [PID], "nobody else was asked"
