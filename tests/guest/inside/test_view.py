"""`pghot run --view` on a real kernel: the screen shows what moves, and its end is that of any run."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import PGHOT, Program, knobs

from terminal import Terminal
from waiting import until

pytestmark = pytest.mark.two_tiers


@pytest.mark.skipif(not Path("/dev/ptmx").exists(), reason="this guest has no pseudo terminals")
@pytest.mark.long
def test_ctrl_c_gives_back_terminal_knobs_and_pages(tmp_path: Path) -> None:
    before = knobs()
    with Program(64, 0.25, 1) as program:
        command = [
            PGHOT, "run", "--apply", "--view", "--restore", "-p", str(program.pid),
            "--journal", str(tmp_path / "j"),
        ]  # fmt: skip
        with Terminal(command, size=(160, 50)) as terminal:
            terminal.until("pgpromote_success")
            until(
                lambda: reads(terminal) and program.on(0).hot >= 0.95, "the promotion", lambda: program.on(0)
            )
            assert knobs() != before
            terminal.press("\x03")
            assert terminal.end() == 130
            assert terminal.restored()
            assert "promoted: " in terminal.text
        assert (program.nodes() == 1).all()
    assert knobs() == before


def reads(terminal: Terminal) -> bool:
    """Take what was written meanwhile: a full terminal would stop the screen."""
    terminal.read(0.1)
    return True
