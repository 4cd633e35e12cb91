"""Names of programs, cgroups and files on a terminal. Anyone may choose them, so no character may control the terminal.

JSON, journals and recordings keep the names as they are. Code that prints them for people calls `printable`.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` in one line. What is not printable (controls, escapes, changes of direction) is shown as an escape.

    >>> printable("a\\x1b[2Jb\\nc")
    'a\\\\x1b[2Jb\\\\nc'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
