"""Comparisons from Python: asked for in words as on the command line, and shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from html import escape
from pathlib import Path
from typing import Any, overload

from pghot.api.given import Names, names, settings, several_shares
from pghot.api.shown import Picture, Table
from pghot.lab import compare as lab
from pghot.lab import results, share_curves
from pghot.lab.metrics import METRICS
from pghot.lab.run_spec import RunSpec
from pghot.lab.setting import Setting, checked_setting
from pghot.recording.trace import Trace
from pghot.sim.machine.topology import Topology


class Comparison(results.Comparison):
    """A comparison that shows itself: `print` gives what `pghot compare` prints."""

    __slots__ = ()

    @classmethod
    def of(cls, found: results.Comparison) -> Comparison:
        """The same comparison."""
        return cls(*(getattr(found, each.name) for each in fields(found)))

    def __repr__(self) -> str:
        from pghot.report.comparison_brief import in_a_line

        return f"<Comparison {in_a_line(self)}>"

    def __str__(self) -> str:
        from pghot.report.comparison_text import render

        return render(self, [])

    def _repr_html_(self) -> str:
        from pghot.report.comparison_text import setup_lines, verdict_lines

        lines = [*setup_lines(self.setup), *verdict_lines(self)]
        told = "".join(f"<li>{escape(line.removeprefix('- '))}</li>" for line in lines)
        return f"{self.table()._repr_html_()}<ul>{told}</ul>"

    def table(self, columns: Names = ()) -> Table:
        """A row for each run, below the class it belongs to.

        columns  names of `lab.metrics.METRICS`, or "all"; none: those that the command line shows

        Raises `UsageError` for an unknown one.
        """
        from pghot.report.comparison_text import chosen_columns, default_columns, table_rows

        chosen = chosen_columns(list(names(columns))) or default_columns(self)
        (head, cells), *rows = table_rows(self, chosen)
        return Table((head, *cells), [(label, *cells) for label, cells in rows])

    def plot(self) -> Picture:
        """What each run gains over doing nothing, with the 95 % intervals when there are several seeds."""
        from pghot.report.gains_picture import draw

        return Picture(f"the gains on {self.setup.trace}", lambda suffix: draw(self, suffix))


class Curves(share_curves.ShareCurves):
    """Comparisons at several shares of fast memory; `print` gives what `pghot compare` prints of several."""

    __slots__ = ()

    def __repr__(self) -> str:
        from pghot.report.comparison_brief import shares_in_a_line

        return f"<Curves {shares_in_a_line(self)}>"

    def __str__(self) -> str:
        from pghot.report.shares_text import render

        return render(self, [])

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def table(self, metric: str = "slowdown") -> Table:
        """One of `lab.metrics.METRICS`: a row for each run, a column for each share.

        Raises `UsageError` for an unknown one.
        """
        from pghot.report.comparison_text import chosen_columns
        from pghot.report.shares_text import table_rows

        (name,) = chosen_columns([metric])
        (head, cells), *rows = table_rows(self, next(each for each in METRICS if each.name == name))
        return Table((head, *cells), [(label, *cells) for label, cells in rows])

    def plot(self) -> Picture:
        """Slowdown, bytes moved and fast misses over the share, a line for each run."""
        from pghot.report.shares_picture import draw

        return Picture(f"the curves on {self.comparisons[0].setup.trace}", lambda suffix: draw(self, suffix))


Progress = Callable[[int, int], None]
Recorded = str | Path | Trace
Policies = Names | RunSpec | list[RunSpec] | list[str | RunSpec]


@overload
def compare(
    recording: Recorded,
    tiers: str | Path | Topology = ...,
    policies: Policies = ...,
    sources: Names = ...,
    *,
    fast_share: float | None = ...,
    **options: Any,
) -> Comparison: ...
@overload
def compare(
    recording: Recorded,
    tiers: str | Path | Topology = ...,
    policies: Policies = ...,
    sources: Names = ...,
    *,
    fast_share: list[Any] | tuple[Any, ...],
    **options: Any,
) -> Curves: ...
@overload
def compare(
    recording: Recorded,
    tiers: str | Path | Topology = ...,
    policies: Policies = ...,
    sources: Names = ...,
    *,
    fast_share: str,
    **options: Any,
) -> Any: ...
def compare(
    recording: Recorded,
    tiers: str | Path | Topology = "dram-cxl",
    policies: Any = "all",
    sources: Names = (),
    *,
    fast_share: Any = 0.2,
    setting: Setting | None = None,
    bounds: bool = False,
    options: Names = (),
    access: Names = (),
    classes: Names = (),
    movers: Names = (),
    workers: int = 1,
    progress: Progress = lambda done, total: None,
    **others: Any,
) -> Comparison | Curves:
    """Replay `recording` over simulated `tiers` under each policy, as `pghot compare` does.

    recording   a path of a recording or of another tool's file, "bundled:NAME", "workload:NAME", "masim:FILE", or any
                `Trace`, such as a `Recording`
    policies, sources, options, access, classes, movers  a name, several with commas between them, or a list; what they
                mean is said in `pghot.lab.compare.compare`, as of what follows
    fast_share  the top tier's share of the footprint: 0.2 or "20%"; "as-file"; several, as a list or "5%..80%", give
                `Curves`
    others      fields of `pghot.lab.setting.Setting`, where text is taken as well: `duration_s="60s"`,
                `stands_for="16x"`
    setting     all of these fields at once

    Raises `UsageError` for what is asked wrongly.

    >>> result = compare("bundled:redis-zipf", policies="none", fast_share="20%", duration_s="one-pass", seeds=1)
    >>> result.setup.fast_share, [row.label for row in result.rows]
    (0.2, ['none', 'all-fast'])
    """
    shares = several_shares(fast_share)
    if setting is None:
        one = {} if shares else {"fast_share": fast_share}
        setting = checked_setting("compare", settings({**one, **others}))
    asked = (recording, tiers, names(policies), names(sources))
    how: dict[str, Any] = {
        "bounds": bounds,
        "options": names(options),
        "access": names(access),
        "classes": names(classes),
        "movers": names(movers),
        "workers": workers,
        "progress": progress,
    }
    if shares is None or len(shares) == 1:
        setting = setting if shares is None else replace(setting, fast_share=shares[0])
        return Comparison.of(lab.compare(*asked, setting=setting, **how))
    found = share_curves.compare_shares(shares, *asked, setting=setting, **how)
    return Curves(found.shares, [Comparison.of(each) for each in found.comparisons])
