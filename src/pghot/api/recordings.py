"""Recordings from Python: opened, made, and shown."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from copy import copy
from dataclasses import fields
from pathlib import Path
from typing import Any

from pghot.api.given import RECORDING, values
from pghot.api.shown import Picture, Table
from pghot.errors import PghotError, UsageError, unknown_name
from pghot.parameters import check_kind, check_number, checked_options
from pghot.recording import reader

MOST = 512  # rows and columns of a heat map


class Recording(reader.Recording):
    """A recording that shows itself: `print` and a notebook tell what it holds, without reading all of it.

    `table` and `plot` read it once. All else is that of `pghot.recording.reader.Recording`.
    """

    @classmethod
    def of(cls, found: reader.Recording) -> Recording:
        """The same recording."""
        made = copy(found)
        made.__class__ = cls
        assert isinstance(made, Recording)
        return made

    def __repr__(self) -> str:
        from pghot.report.recording_brief import in_a_line

        return f"<Recording {in_a_line(self)}>"

    def __str__(self) -> str:
        return repr(self._brief())

    def _repr_html_(self) -> str:
        return self._brief()._repr_html_()

    def _brief(self) -> Table:
        from pghot.report.recording_brief import brief

        return Table(("recording", self.info.name), brief(self), left=2)

    def table(self) -> Table:
        """The regions of its memory, most cache misses first. Raises `PghotError` where the file is damaged."""
        from pghot.recording.summary import summarise
        from pghot.report.recording_brief import REGION_HEAD, region_rows

        return Table(REGION_HEAD, region_rows(summarise(self)))

    def plot(self, of: str = "", rows: int = MOST, columns: int = MOST) -> Picture:
        """Its heat map, address x time.

        of             "misses", "touches" or "writes"; without: misses if there are any
        rows, columns  the most that it has, of addresses and of time

        Raises `UsageError` for another measure, `PghotError` where the file is damaged.
        """
        from pghot.recording.heat import MEASURES, Heat, measure_of
        from pghot.recording.time_bins import at_most
        from pghot.recording.totals import PageTotals, read_once
        from pghot.report.heat_picture import draw

        if of and of not in MEASURES:
            raise unknown_name("measure", of, list(MEASURES))
        for name, count in (("rows", rows), ("columns", columns)):
            check_number("plot", name, count, 1, 1024)
        measure = next((each for each in MEASURES if each == of), measure_of(self))
        heat, pages = Heat(self, measure, at_most(self, columns)), PageTotals(self.pages)
        read_once(self, pages, heat)
        found = heat.map(pages, rows)
        return Picture(f"the {measure} of {self.info.name}", lambda suffix: draw(found, suffix))


def open_recording(path: str | Path) -> Recording:
    """Whatever the command line takes where it says FILE: a recording, a URI of one, "bundled:NAME", Parquet, or a file
    of another tool, which is imported.

    Raises as `pghot.recording.bundled.open_named` does.

    >>> open_recording("bundled:redis-zipf").info.name
    'redis-zipf'
    """
    from pghot.recording.bundled import open_named

    check_kind("path", path, (str, Path), "a path")
    return Recording.of(open_named(str(path)))


def record(path: str | Path, command: str | Sequence[str], **settings: Any) -> Recording:
    """Run a command in the emulator, as `pghot record PATH -- COMMAND` does, and open what was recorded.

    path      where it is written; ends in .pghot
    command   its words, or one text, which is split as a shell would
    settings  fields of `pghot.recorder.record_settings.RecordSettings`; text such as "1 MiB, 4 MiB" and "60s" is taken

    Raises `UsageError` for what is asked wrongly, `UnsupportedError` where qemu-user or a compiler is missing, and
    `PghotError` when the command died at once.
    """
    from pghot.recorder import recorder

    words = shlex.split(command) if isinstance(command, str) else list(command)
    if not words:
        raise UsageError("no command to record", "pghot.record('FILE.pghot', 'COMMAND')")
    if Path(path).suffix != ".pghot":
        raise UsageError(f"'{path}' does not name a recording", "end the name in .pghot")
    outcome = recorder.record(words, Path(path), _record_settings(settings))
    if outcome.died_at_once:
        raise PghotError(f"'{words[0]}' died at once: {outcome.ended}", "does it run without pghot?")
    return open_recording(path)


def _record_settings(given: dict[str, Any]) -> Any:
    """As on the command line, a slice that is asked for stays as it is, however large the file gets."""
    from pghot.recorder.record_settings import RecordSettings

    found = values(given, RECORDING)
    defaults = {each.name: each.default for each in fields(RecordSettings)}
    sizes = found.pop("cache_bytes", defaults.pop("cache_bytes"))
    found = checked_options("record", found, defaults)
    if "slice_ns" in found:
        found.setdefault("max_bytes", 0)
    return RecordSettings(cache_bytes=_sizes(sizes), **found)


def _sizes(given: Any) -> tuple[int, ...]:
    """Bytes of one size or several, in numbers or text."""
    from pghot.units import parse_size

    return tuple(parse_size(each) for each in (given if isinstance(given, list | tuple) else [given]))
