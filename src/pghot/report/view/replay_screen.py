"""The screen of `pghot top RECORDING`: a recording played like a film."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.geometry import Size
from textual.widgets import Static

from pghot.errors import PghotError
from pghot.printable import printable
from pghot.report.view.parts import TITLE, WARN, cut
from pghot.report.view.tape import Tape, frame
from pghot.units import format_duration, format_number

LOOK_S = 0.1
JUMP = 0.05  # of the recording
KEYS = " q quit   s stop, go on   left and right jump   + and - faster, slower   r from the start"


class Replay(App[None]):
    """Plays a tape at `speed` times the speed of the program."""

    CSS = """
    Screen { layout: vertical; }
    #head, #foot { height: 1; }
    #body { height: 1fr; }
    """
    TITLE = "pghot"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave"),
        Binding("ctrl+c", "leave", priority=True),
        Binding("s,space", "pause"),
        Binding("left", "jump(-1)"),
        Binding("right", "jump(1)"),
        Binding("plus", "faster(2)"),
        Binding("minus", "faster(0.5)"),
        Binding("r", "restart"),
    ]

    def __init__(
        self, tape: Tape, speed: float, colour: bool, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self.animation_level = "none"
        self._tape, self.speed, self._colour, self._now_s = tape, speed, colour, now_s
        self.second = 0.0  # of the recording, that is shown
        self.paused = False
        self._last_s = now_s()
        self._drawn: tuple[int, Size] | None = None
        self._room = Size(80, 24)
        self._head, self._body, self._foot = (
            Static(id=name, markup=False) for name in ("head", "body", "foot")
        )

    def compose(self) -> ComposeResult:
        yield from (self._head, self._body, self._foot)

    def on_mount(self) -> None:
        self.set_interval(LOOK_S, self.look)

    def on_resize(self, event: Resize) -> None:
        self._room = event.size
        self._foot.update(cut(Text(KEYS.ljust(event.size.width), "reverse"), event.size.width))
        self.draw()

    def look(self) -> None:
        """Let time pass."""
        now_s = self._now_s()
        if not self.paused:
            self.go_to(self.second + (now_s - self._last_s) * self.speed)
        self._last_s = now_s

    def go_to(self, second: float) -> None:
        """Show this second of the recording, or its nearest."""
        self.second = max(0.0, min(second, self._tape.seconds))
        self.draw()

    def draw(self) -> None:
        """Draw what is new: a moment lasts as long as a column of the map."""
        at = self._tape.bin_at(self.second)
        if self._drawn != (at, self._room):
            self._drawn = at, self._room
            width, height = self._room
            lines = frame(self._tape, at, width, height - 2, self._colour)
            self._body.update(Text("\n").join(lines))
        self._draw_head()

    def _draw_head(self) -> None:
        whole = self._tape.seconds
        over = self.second >= whole
        note = "THE END, r plays it again" if over else "STOPPED, s goes on" if self.paused else ""
        at = f"{format_duration(self.second * 1e9)} of {format_duration(whole * 1e9)}"
        text = Text.assemble(
            (f" {note} " if note else "", f"{WARN} reverse"),
            (" pghot " if note else "pghot ", TITLE),
            f"{printable(self._tape.name)} · {at} · {format_number(self.speed, 2)} times its speed",
        )
        self._head.update(cut(text, self._room.width))

    # ---- keys

    def action_leave(self) -> None:
        self.exit()

    def action_pause(self) -> None:
        self.paused = not self.paused
        self._draw_head()

    def action_jump(self, steps: int) -> None:
        self.go_to(self.second + steps * JUMP * self._tape.seconds)

    def action_faster(self, times: float) -> None:
        self.speed *= times
        self._draw_head()

    def action_restart(self) -> None:
        self.go_to(0.0)


def play(tape: Tape, speed: float, colour: bool) -> None:
    """Play until a key ends it. Raises `PghotError` when the screen fails."""
    screen = Replay(tape, speed, colour)
    screen.run(mouse=False)
    if screen.return_code:
        raise PghotError("the screen failed", "see above; `pghot report heatmap` prints the same figures")
