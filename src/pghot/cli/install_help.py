"""`pghot install-help`: the man pages, and the completion of every shell, put where man and the shells look."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

# Below a prefix that is known to the programs: /usr, /usr/local, and ~/.local for those of one user.
COMPLETIONS = {
    "bash": "share/bash-completion/completions/pghot",
    "zsh": "share/zsh/site-functions/_pghot",
    "fish": "share/fish/vendor_completions.d/pghot.fish",
}
MAN_PAGES = "share/man/man1"


def install_help(
    ctx: typer.Context,
    prefix: Annotated[
        str, typer.Option(metavar="DIR", help="below it: share/man and each shell's directory")
    ] = "~/.local",
) -> None:
    """Install man pages and completion for bash, zsh and fish; again after an update.

    pghot install-help --prefix /usr/local
    """
    from pghot.cli.completion import script
    from pghot.cli.manual import pages
    from pghot.errors import not_written
    from pghot.outputs import write_bytes
    from pghot.units import counted

    below = Path(os.path.expanduser(prefix))
    files = {below / place: f"{script(shell)}\n" for shell, place in COMPLETIONS.items()}
    files |= {below / MAN_PAGES / f"{name}.1": text for name, text in pages(ctx.find_root()).items()}
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise not_written(path, error) from None
        write_bytes(path, text.encode(), force=True)
    for place in COMPLETIONS.values():
        print(f"wrote {below / place}", file=sys.stderr)
    print(
        f"wrote {counted(len(files) - len(COMPLETIONS), 'man page')} to {below / MAN_PAGES}", file=sys.stderr
    )
    if below == Path.home() / ".local":
        print(f"zsh looks there with: fpath+=({below / 'share/zsh/site-functions'})", file=sys.stderr)
