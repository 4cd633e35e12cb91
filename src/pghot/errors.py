"""The exceptions that pghot raises on purpose, each with its exit code.

`str(error)` names what is wrong; `hint` names the remedy. The command line prints both in exactly one place
(`pghot.cli.main`). Users of the library catch `PghotError`.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

from pghot.printable import elided, printable


class PghotError(Exception):
    """Something the user can act on: one line says what is wrong, another names the remedy."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def _render_traceback_(self) -> list[str]:
        """What a notebook prints in place of a traceback: the two lines of the command line (IPython asks for this)."""
        return [
            f"pghot: error: {printable(str(self))}",
            *([f"hint: {printable(self.hint)}"] * bool(self.hint)),
        ]


class UsageError(PghotError):
    """The request itself is wrong: an unknown name, an impossible value, a malformed file."""

    exit_code = 2


class UnsupportedError(PghotError):
    """This machine cannot do it: the kernel, the hardware or an installed tool lacks what is needed."""

    exit_code = 3


class NotPermittedError(PghotError):
    """This user may not do it: the hint names the capability or the command that grants it."""

    exit_code = 4


class CutShortError(PghotError):
    """A signal ended the run before everything was put back: the hint says how to finish that."""

    exit_code = 130


def unknown_name(kind: str, name: str, known: list[str]) -> UsageError:
    """A `UsageError` for a name that is not known. It suggests the nearest one that is.

    >>> unknown_name("policy", "numab", ["none", "numab2"]).hint
    "did you mean 'numab2'? known: none, numab2"
    """
    if not name:
        return UsageError(f"no {kind} named", f"known: {', '.join(known)}")
    return UsageError(
        f"unknown {kind} '{shortened(name)}'", f"{did_you_mean(name, known)}known: {', '.join(known)}"
    )


def shortened(text: str) -> str:
    """What someone wrote, short enough for an error, and in one line: both of its ends are told.

    >>> shortened("/var/lib/" + "9" * 400 + "/redis.pghot")
    '/var/lib/999999999999999999…/redis.pghot'
    """
    return printable(elided(text, 40))


def did_you_mean(name: str, known: Sequence[str], prefix: str = "") -> str:
    """A question that names the nearest of the known names, with a space at its end; empty when none is near.

    prefix  what is written before each of them
    """
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{prefix}{near[0]}'? " if near else ""


def not_written(path: str | Path, error: OSError) -> PghotError:
    """The error for a file that cannot be written. On a full disk, another name alone would not help.

    >>> not_written("a.html", OSError(errno.ENOSPC, "No space left on device")).hint
    'make room there, or name a file elsewhere'
    """
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    hint = "make room there, or name a file elsewhere" if full else "name a file you may write"
    return PghotError(f"cannot write {path}: {error.strerror or error}", hint)
