"""`pghot man`: the man page of a verb."""

from __future__ import annotations

from typing import Annotated

import typer

from pghot.errors import unknown_name


def man(
    ctx: typer.Context,
    verb: Annotated[
        list[str] | None, typer.Argument(metavar="[VERB]...", help="such as compare, or report wss")
    ] = None,
) -> None:
    """The man page of a verb, or of pghot itself, made from its --help.

    pghot man compare | man -l -
    """
    from pghot.cli.manual import contexts, page

    known = {each.command_path.removeprefix("pghot").strip(): each for each in contexts(ctx.find_root())}
    words = " ".join(verb or [])
    if words not in known:
        raise unknown_name("verb", words, sorted(filter(None, known)))
    print(page(known[words]), end="")
