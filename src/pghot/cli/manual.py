"""A man page from the help of a command: roff for `man`, one page for `pghot` and one for each verb.

Commands are click's, contexts too: some versions of typer contain click, others depend on it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from pghot.version import __version__

# docs/cli.md has them at length.
EXIT_CODES = (
    ("0", "ok"),
    ("1", "failure"),
    ("2", "wrong use"),
    ("3", "this machine cannot: the kernel, the hardware or a tool lacks it"),
    ("4", "not permitted: the hint names the capability or the command"),
    ("130", "interrupted; knobs were put back and what was found is printed"),
)


def pages(root: Any) -> dict[str, str]:
    """Roff of each page by its name, such as "pghot-report-wss"; `root` is the context of `pghot`."""
    return {page_name(each): page(each) for each in contexts(root)}


def contexts(ctx: Any) -> Iterator[Any]:
    """The context of a command and those of all below it, groups before their verbs."""
    yield ctx
    for name, command in getattr(ctx.command, "commands", {}).items():
        yield from contexts(type(ctx)(command, info_name=name, parent=ctx))


def page_name(ctx: Any) -> str:
    """The words of the command, joined by hyphens."""
    return str(ctx.command_path).replace(" ", "-")


def page(ctx: Any) -> str:
    """The page of one command."""
    name, path = page_name(ctx), ctx.command_path
    first, *rest = inspect.cleandoc(ctx.command.help or "").split("\n\n")
    summary = " ".join(first.split())
    lines = [
        f'.TH {_escaped(name.upper())} 1 "" "pghot {__version__}" "pghot"',
        *(".SH NAME", f"{_escaped(name)} \\- {_escaped(summary.rstrip('.'))}"),
        *(".SH SYNOPSIS", f".B {_escaped(path)}", _escaped(" ".join(ctx.command.collect_usage_pieces(ctx)))),
        *(".SH DESCRIPTION", _escaped(summary)),
    ]
    for paragraph in rest:
        # What begins as a command does is an example to type in.
        lines += [
            ".PP",
            *([".EX", _escaped(paragraph), ".EE"] if _is_command(paragraph) else [_escaped(paragraph)]),
        ]
    for title, kind in (("ARGUMENTS", "argument"), ("OPTIONS", "option")):
        records = [p.get_help_record(ctx) for p in ctx.command.get_params(ctx) if p.param_type_name == kind]
        lines += _listed(title, [record for record in records if record])
    below = getattr(ctx.command, "commands", {})
    lines += _listed("COMMANDS", [(each, _summary(command)) for each, command in below.items()])
    lines += _listed("EXIT STATUS", EXIT_CODES)
    others = [f"{name}-{each}" for each in below] or [page_name(ctx.parent or ctx)]
    lines += [".SH SEE ALSO", *(f".BR {_escaped(other)} (1)" for other in others)]
    return "\n".join(line for line in lines if line) + "\n"


def _summary(command: Any) -> str:
    return " ".join(inspect.cleandoc(command.help or "").split("\n\n")[0].split())


def _is_command(paragraph: str) -> bool:
    return paragraph.startswith("pghot ")


def _listed(title: str, entries: Any) -> list[str]:
    lines = [f".SH {title}"] if entries else []
    for what, about in entries:
        lines += [".TP", f".B {_escaped(what)}", _escaped(about)]
    return lines


def _escaped(text: str) -> str:
    """Text that roff prints as it is.

    >>> _escaped("--top N\\n.5 is a share")
    '\\\\-\\\\-top N\\n\\\\&.5 is a share'
    """
    safe = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line[:1] in (".", "'") else line for line in safe.split("\n"))
