"""The bench itself: the tiers are the expected ones, the program's pages are where it says, and moves move them."""

from __future__ import annotations

import signal

import numpy as np
import pytest
from helpers import BALANCING, Program

from pghot.kernel.move_pages import move_pages
from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.nodes import read_nodes
from waiting import until

pytestmark = pytest.mark.two_tiers


def test_the_kernel_has_two_tiers_and_moves_nothing_by_itself() -> None:
    nodes = read_nodes(SysRoot())
    assert nodes.rank == (0, 1)
    assert nodes.top_nodes == (0,)
    assert nodes.demotion_targets[0] == (1,)
    assert BALANCING.read_text().strip() == "0"


@pytest.mark.parametrize("node", [0, 1])
def test_the_programs_pages_are_on_the_node_that_was_asked_for(node: int) -> None:
    with Program(64, 0.25, node) as program:
        assert program.pages == 64 * 256
        assert (program.nodes() == node).all()
        assert program.hot().mean() == 0.25


def test_chosen_pages_move_and_the_others_stay() -> None:
    """997 pages, a prime, spread over the area; the program goes on meanwhile."""
    with Program(64, 0.25, 1) as program:
        chosen = np.linspace(0, program.pages - 1, 997).astype(int)
        status = move_pages(program.pid, program.address[chosen], np.zeros(997, np.int32))
        assert (status == 0).all()
        assert (np.flatnonzero(program.nodes() == 0) == chosen).all()
        program.goes_on()


def test_the_program_touches_its_hot_pages_and_no_others() -> None:
    """Seen by the kernel: bit 55 of the page map, which says what was written since it was cleared."""
    with Program(64, 0.25, 1, "write") as program:
        assert (written(program) == program.hot()).all()
        program.signal(signal.SIGUSR1)
        written(program)
        assert (written(program) == program.hot()).all()


def written(program: Program) -> np.ndarray:
    """bool[pages]: written while it touched what it touches."""
    with open(f"/proc/{program.pid}/clear_refs", "w") as file:
        file.write("4")
    program.goes_on()
    with open(f"/proc/{program.pid}/pagemap", "rb") as file:
        file.seek(int(program.address[0]) // 4096 * 8)
        entries = np.frombuffer(file.read(program.pages * 8), np.uint64)
    return (entries >> np.uint64(55) & np.uint64(1)).astype(bool)


def test_half_of_the_program_can_go() -> None:
    with Program(64, 0.25, 1) as program:
        program.signal(signal.SIGUSR2)
        half = program.pages // 2
        until(lambda: (program.nodes()[half:] < 0).all(), "the upper half gone")
        assert (program.nodes()[:half] == 1).all()
