"""`pghot completion`: what a shell reads to complete verbs and options; it asks pghot itself at each TAB."""

from __future__ import annotations

from typing import Annotated

import typer

from pghot.errors import unknown_name

ASKED_BY_A_SHELL = "_PGHOT_COMPLETE"  # an environment variable: typer answers when it is set
SHELLS = ("bash", "zsh", "fish")
# zsh loads the file at the first TAB. That one has to be answered too.
_ZSH_FIRST_TAB = '[[ $zsh_eval_context[-1] != loadautofunc ]] || _pghot_completion "$@"'


def completion(shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish")]) -> None:
    """Print what a shell reads to complete verbs and options.

    source <(pghot completion bash)
    """
    print(script(shell))


def script(shell: str) -> str:
    """What this shell reads. Raises `UsageError` for one that is not known."""
    from typer._completion_shared import get_completion_script

    if shell not in SHELLS:
        raise unknown_name("shell", shell, list(SHELLS))
    text = get_completion_script(prog_name="pghot", complete_var=ASKED_BY_A_SHELL, shell=shell)
    return f"{text}\n{_ZSH_FIRST_TAB}" if shell == "zsh" else text
