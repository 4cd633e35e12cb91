"""The screen of `pghot top` and `pghot run --view`: takes documents from a feed, knows nothing else.

It uses the terminal's own colours, leaves the mouse to the terminal (so that text can be selected), and follows
NO_COLOR.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, Literal, Protocol

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.events import Key, Resize
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widgets import Static

from pghot.errors import PghotError
from pghot.printable import printable
from pghot.report.view.arrangement import GAP, arranged, head
from pghot.report.view.history import SPAN_S, Seen, StatusHistory
from pghot.report.view.hot_history import HotHistory, Range, range_of
from pghot.report.view.parts import WARN, PanelRoom, Picture, cut
from pghot.report.view.region_panel import region_lines

SCROLLBAR = 1  # column, where there is more than fits
LOOK_S = 0.2
SILENT_S = 3.0  # after this time without a document the screen says how old the last one is

Answer = Literal["quit", "interrupt"]

KEYS = " q quit   s stop the screen   j k choose a region, Enter opens it   ? help"
HELP = """\
q        end; of `run --view`: end the run, pages stay
Ctrl-C   as without the screen
s        stop the screen, and let it go on; tracking goes on meanwhile
j k      choose the next hot region, or the one before; Enter opens and
         closes it: its heat over time, its moves, and why pages stay
up down  scroll, where the terminal is too small for everything
?        this page; any key closes it
nodes    each with its tier, 0 is the fastest, and a bar of its memory:
         █ hot: tracked and seen lately    ▓ tracked, not seen lately
         ▒ used otherwise   · free   = free, and stays free
moves    what pghot promoted and demoted; by kernel: what the kernel
         promoted by itself, on the whole machine
hot      memory seen lately; on fast: the share of it on tier 0
limit    promotions now, as a share of the rate limit; the ping-pong guard
         lowers it when pages come back that pghot had demoted
degraded what is wrong while pghot runs on, and what to do
failed   pages that did not move, by errno
sources  addresses that each one reported, its losses, its sampling
CPU      of pghot, with this screen when it is `run --view`
charts   rates over the time named at the right of the panel's title;
         a blank is not known, the lowest bar is the least, often 0;
         peak is the highest bar, which is a mean over its time
"""


class Feed(Protocol):
    """Where the documents come from; another thread fills it."""

    @property
    def problem(self) -> str:
        """Why there is nothing newer; empty when all is well."""

    @property
    def over(self) -> bool:
        """No more documents will come: the screen closes."""

    def take(self) -> Seen | None:
        """The newest document, once."""


class Help(ModalScreen[None]):
    """The help page, until a key is pressed."""

    CSS = """
    Help { align: center middle; }
    Help Static { width: 78; max-width: 100%; height: auto; max-height: 100%; border: solid; padding: 0 1; }
    """

    def compose(self) -> ComposeResult:
        yield Static(HELP, markup=False)

    def on_key(self, event: Key) -> None:
        event.stop()
        # A second key may arrive before the page has closed.
        if self.is_current:
            self.dismiss()


class View(App[Answer]):
    """The live view. `interrupt` does what Ctrl-C does outside of it."""

    CSS = f"""
    Screen {{ layout: vertical; }}
    #head, #foot {{ height: 1; }}
    #body {{ height: 1fr; scrollbar-size: 1 {SCROLLBAR}; }}
    #columns {{ height: auto; }}
    #left, #right {{ width: 1fr; height: auto; }}
    #right {{ margin-left: {GAP}; }}
    """
    TITLE = "pghot"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave('quit')"),
        Binding("ctrl+c", "interrupt", priority=True),
        Binding("s", "pause"),
        Binding("question_mark", "help"),
        Binding("j", "choose(1)"),
        Binding("k", "choose(-1)"),
        Binding("enter", "open"),
        Binding("escape", "close"),
    ]

    def __init__(
        self, feed: Feed, interrupt: Callable[[], None], now_s: Callable[[], float] = time.monotonic
    ):
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self.animation_level = "none"
        self._feed, self._interrupt, self._now_s = feed, interrupt, now_s
        self._history = StatusHistory()
        self._regions = HotHistory()
        self._picture: Picture | None = None
        self._chosen: Range | None = None
        self._opened = False
        self._seen_s = now_s()
        self._room = Size(80, 24)  # of the terminal, until it tells
        self.paused = False
        # Kept as attributes: a query would search the help page while that is open.
        self._head, self._foot = (Static(id=name, markup=False) for name in ("head", "foot"))
        self._left = Static("waiting for the first figures", id="left", markup=False)
        self._right = Static(id="right", markup=False)
        self._body = VerticalScroll(Horizontal(self._left, self._right, id="columns"), id="body")

    def compose(self) -> ComposeResult:
        yield from (self._head, self._body, self._foot)

    def on_mount(self) -> None:
        self._right.display = False
        self.set_interval(LOOK_S, self.look)

    def on_resize(self, event: Resize) -> None:
        self._room = event.size
        self._foot.update(Text(KEYS.ljust(event.size.width), "reverse"))
        self.draw()

    # ---- what is shown

    def look(self) -> None:
        """Show what is new; close when no more documents will come."""
        if self._feed.over:
            self.exit()
            return
        if (seen := self._feed.take()) is not None:
            self._seen_s = self._now_s()
            self._history.add(seen.status)
            self._regions.add(seen.status["seconds"], seen.hot)
            if not self.paused:
                self._picture = Picture(seen.status, seen.hot, self._history, self._regions, self._chosen)
                self.draw()
        self._draw_head()

    def draw(self) -> None:
        """Draw everything for the current size."""
        if self._picture is None:
            return
        width, height = self._room
        height -= 2  # head and keys
        if self._opened and self._chosen is not None:
            self._right.display = False
            lines = region_lines(self._picture, self._chosen, PanelRoom(width - SCROLLBAR, span_s=SPAN_S))
            self._left.update(Text("\n").join(lines))
            return
        columns = arranged(self._picture, width, height)
        if max(map(len, columns)) > height:
            columns = arranged(self._picture, width - SCROLLBAR, height)
        texts = [Text("\n").join(lines) for lines in columns]
        self._right.display = len(texts) > 1
        self._left.update(texts[0])
        self._right.update(texts[-1] if self._right.display else "")

    def _draw_head(self) -> None:
        width = self._room.width
        notes = [text for text in (self._trouble(), "STOPPED, s goes on" if self.paused else "") if text]
        note = Text(f" ! {'; '.join(notes)} ", f"{WARN} reverse") if notes else Text()
        line = head(self._picture.status, max(0, width - note.cell_len)) if self._picture else Text("pghot")
        self._head.update(cut(Text.assemble(note, " " if notes else "", line), width))

    def _trouble(self) -> str:
        """Why the figures are old, or just that they are."""
        age_s = self._now_s() - self._seen_s
        if self._feed.problem:
            return f"trying again, figures are {age_s:.0f} s old: {printable(self._feed.problem)}"
        return f"figures are {age_s:.0f} s old" if self._picture and age_s > SILENT_S else ""

    # ---- keys

    def action_leave(self, answer: Answer) -> None:
        self.exit(answer)

    def action_interrupt(self) -> None:
        self._interrupt()
        self.exit("interrupt")

    def action_pause(self) -> None:
        self.paused = not self.paused
        self._draw_head()

    def action_choose(self, step: int) -> None:
        """Choose another region of the list; what is chosen are its addresses, so that it stays when others grow
        hotter."""
        if self._picture is None or not self._picture.hot:
            return
        rows = self._picture.hot
        chosen = self._chosen
        at = None if chosen is None else next((i for i, row in enumerate(rows) if chosen.shared(row)), None)
        to = 0 if at is None else min(max(0, at + step), len(rows) - 1)
        self._chosen = range_of(rows[to])
        self._picture = replace(self._picture, chosen=self._chosen)
        self.draw()

    def action_open(self) -> None:
        if self._chosen is None:
            self.action_choose(0)
        self._opened = self._chosen is not None and not self._opened
        self.draw()

    def action_close(self) -> None:
        self._opened = False
        self.draw()

    def action_help(self) -> None:
        self.push_screen(Help())


def show(feed: Feed, interrupt: Callable[[], None]) -> Answer | None:
    """Show the screen until a key ends it, or the feed is over (None). Raises `PghotError` when it fails."""
    view = View(feed, interrupt)
    answer = view.run(mouse=False)
    if view.return_code:
        raise PghotError("the screen failed", "see above; `pghot status 1` prints the same figures")
    return answer
