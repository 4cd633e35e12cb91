"""`pghot report`: its reports by name, and a file in place of a name for the summary."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

from pghot.errors import UsageError, did_you_mean, shortened

SUMMARY = "summary"
_HELP = ("-h", "--help")


def is_file(word: str) -> bool:
    """Whether a word is a file: it has a separator or a suffix, or names a bundled recording.

    >>> is_file("a.pghot"), is_file("./a"), is_file("bundled:redis-zipf"), is_file("heatmap")
    (True, True, True, False)
    """
    return any(mark in word for mark in "/.:")


class ReportGroup(TyperGroup):
    """The group of reports; `pghot report FILE` is `pghot report summary FILE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[0] if args else "--help"
        if is_file(first) or (first.startswith("-") and first not in _HELP):
            args = [SUMMARY, *args]
        elif first not in (*self.commands, *_HELP) and not ctx.resilient_parsing:  # a shell completes
            raise _unknown(first, sorted(self.commands))
        return list(super().parse_args(ctx, args))


def _unknown(word: str, known: list[str]) -> UsageError:
    from pghot.recording.bundled import PREFIX, names

    meant = did_you_mean(word, known) or did_you_mean(word, names(), PREFIX)
    return UsageError(
        f"unknown report '{shortened(word)}'",
        f"{meant}known: {', '.join(known)}; a file of that name is ./{shortened(word)}",
    )
