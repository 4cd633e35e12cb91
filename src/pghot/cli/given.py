"""No option is ignored silently: a verb lists the options that only one of its modes takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import typer

from pghot.errors import UsageError


@dataclass(frozen=True, slots=True)
class GoesWith:
    """Options that only one mode of a verb takes. Options in no table go with every mode.

    mode     what the options go with, in the words of the error
    chosen   whether that mode was chosen, by the values of all parameters of the verb
    options  the parameters' names
    """

    mode: str
    chosen: Callable[[Mapping[str, Any]], object]
    options: tuple[str, ...]


def refuse_unused(ctx: typer.Context, table: Iterable[GoesWith]) -> None:
    """Raise `UsageError` for an option on the command line that the chosen mode does not take.

    A verb calls this first, before it parses anything, starts anything, or looks at the machine.
    """
    given = [each for each in ctx.command.params if each.name and _on_the_command_line(ctx, each.name)]
    for row in table:
        for parameter in given:
            if parameter.name in row.options and not row.chosen(ctx.params):
                raise UsageError(f"{_spelling(parameter, ctx.params)} goes with {row.mode}", "leave it out")


def _on_the_command_line(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _spelling(parameter: Any, values: Mapping[str, Any]) -> str:
    """The parameter as the user writes it: an argument's name, or an option's first long name or its `--no-` form.

    The parameter is click's. Some versions of typer contain click, others depend on it.
    """
    if parameter.param_type_name == "argument":
        return str(parameter.name.upper())
    names = parameter.secondary_opts if values[parameter.name] is False else parameter.opts
    return str(next((name for name in names if name.startswith("--")), names[0]))
