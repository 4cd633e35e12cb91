"""Names of programs, cgroups and files on a terminal: anyone may choose them, so none of their characters may act.

The data (JSON, journals, recordings) keeps them as they are; whoever prints them for people calls `printable`.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` in one line; what is not printable (controls, escapes, changes of direction) stands as its escape.

    >>> printable("a\\x1b[2Jb\\nc")
    'a\\\\x1b[2Jb\\\\nc'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
