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


def elided(text: str, width: int) -> str:
    """`text` in at most `width` columns: what is too long loses its middle, and a path keeps its last part if it fits.

    >>> elided("/usr/lib/x86_64-linux-gnu/libc.so.6", 20), elided("a-long-name", 7)
    ('/usr/lib/…/libc.so.6', 'a-l…ame')
    """
    if len(text) <= width:
        return text
    _, slash, base = text.rpartition("/")
    if slash and len(base) + 2 > width:
        return elided(base, width)
    tail = len(base) + 1 if slash else width // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"
