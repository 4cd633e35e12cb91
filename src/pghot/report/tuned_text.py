"""What tuning found, as text: the knobs, what they gain where they were turned and where they were not, and the way to
the oracle."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from pghot.lab.tuned import HeldOut, Slowdowns, Tuned, gain
from pghot.printable import printable
from pghot.report.comparison_text import setup_lines
from pghot.sim.policies import POLICIES
from pghot.units import counted, format_number, format_share


def render(found: Tuned) -> str:
    """The text that `pghot tune` prints."""
    played = [each for each in found.trials if each.slowdowns]
    refused = len(found.trials) - len(played)
    done = len(found.trials)
    tried = counted(done, "trial") if done == found.budget else f"{done} of {counted(found.budget, 'trial')}"
    how = [
        f"tuned: {found.spec.label} ({found.spec.runs_on}); {tried}, the first with the defaults"
        + (f"; {refused} refused by the policy" if refused else ""),
        f"tuned on {_names(found.recordings, found.seeds)}",
    ]
    if found.held_out is not None:
        same = " (the same, under seeds that no trial had; --held-out gives others)" if found.same else ""
        how.append(f"held out: {_names(found.held_out.recordings, found.held_out.seeds)}{same}")
    lines = [*_wrapped([*setup_lines(found.setup), *how]), "", *_knobs(found), "", *_table(found)]
    return "\n".join([*lines, "", *_wrapped([*conclusions(found), "for pghot compare: " + set_words(found)])])


def _names(recordings: Sequence[str], seeds: Sequence[int]) -> str:
    which = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    return f"{', '.join(recordings)}, {which}"


def _knobs(found: Tuned) -> list[str]:
    """Default and best of each knob, and where it was looked for."""
    defaults = POLICIES.options(found.spec.policy)
    rows = [("knob", "default", "tuned", "looked for in")]
    for name, span in found.knobs.items():
        default = "its own" if defaults[name] is None else format_number(defaults[name])
        tuned = format_number(found.best.options[name]) if name in found.best.options else default
        rows.append((name, default, tuned, f"{format_number(span.low)} to {format_number(span.high)}"))
    return _columns(rows)


def _table(found: Tuned) -> list[str]:
    rows = [("time over that with all memory fast", "defaults", "tuned", "faster by")]
    before, after = found.defaults.slowdowns, found.best.slowdowns
    if before is not None and after is not None:
        rows.append(("  where it was tuned", _cell(before), _cell(after), _percent(*gain(before, after))))
    if (held := found.held_out) is not None:
        rows.append(
            (
                "  held out",
                _cell(held.defaults),
                _cell(held.tuned),
                _percent(*gain(held.defaults, held.tuned)),
            )
        )
        rows += [(f"  {name}, held out", _cell(each), "", "") for name, each in held.oracles.items()]
    return _columns(rows)


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _cell(slowdowns: Slowdowns) -> str:
    facts = slowdowns.to_dict()
    if facts["slowdown"] is None:
        return "lost"
    return f"{facts['slowdown']:.3f}" + (f" ± {facts['ci95']:.3f}" if facts["ci95"] is not None else "")


def _percent(value: float | None, half: float | None) -> str:
    if value is None:
        return "-"
    return format_share(value) + (f" ± {format_share(half)}" if half is not None else "")


def conclusions(found: Tuned) -> list[str]:
    """Whether the tuned knobs are worth having, in sentences, and how far it is to the oracle."""
    if found.held_out is None:
        return [
            f"interrupted after {len(found.trials)} of {counted(found.budget, 'trial')}: nothing was "
            "judged on what is held out"
        ]
    if not found.best.options:
        return [
            "no trial was faster than the defaults: keep them",
            *_way_to_the_oracle(found.held_out, False),
        ]
    held = found.held_out
    value, half = gain(held.defaults, held.tuned)
    shown = _percent(value, half)
    if value is None:
        judged = "held out, the program did not do all its work: keep the defaults"
    elif value < -(half or 0.0):
        judged = f"held out, it is slower ({shown}): the knobs fit what they were tuned on, keep the defaults"
    elif value <= (half or 0.0):
        judged = f"held out, the seeds show no gain ({shown}): keep the defaults"
    elif half is None:
        judged = f"held out, it gains {shown}; one seed says nothing about chance"
    else:
        judged = f"held out, it gains {shown}"
    return [judged, *_way_to_the_oracle(held, True)]


def _way_to_the_oracle(held: HeldOut, turned: bool) -> list[str]:
    """How much slower than the best oracle the defaults are, and how much of that turning the knobs gains."""
    name, best = held.oracle
    behind, half = gain(held.defaults, best)
    if behind is None:
        return []
    if behind <= 0:
        return [f"held out, the defaults are as fast as {name}"]
    closed = (held.defaults.mean - held.tuned.mean) / (held.defaults.mean - best.mean)
    told = f"; the tuned knobs close {format_share(closed)} of that" if turned and closed > 0 else ""
    return [f"held out, {name} is {_percent(behind, half)} faster than the defaults{told}"]


def set_words(found: Tuned) -> str:
    """The options of `pghot compare` that give the tuned run."""
    spec = found.spec
    sources = f" --sources {'+'.join(spec.sources)}" if POLICIES.get(spec.policy).any_source else ""
    given = [(spec.policy, name, value) for name, value in found.options.items()]
    given += [
        (source, name, value) for source, some in spec.source_options.items() for name, value in some.items()
    ]
    return f"--policies {spec.policy}{sources}" + "".join(
        f" --set {owner}.{name}={_word(value)}" for owner, name, value in given
    )


def _word(value: object) -> str:
    if isinstance(value, tuple | frozenset | set | list):
        return ",".join(sorted(map(str, value)))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _wrapped(lines: Sequence[str]) -> list[str]:
    return [
        part
        for line in lines
        for part in textwrap.wrap(printable(line), 100, subsequent_indent="  ", break_on_hyphens=False)
    ]
