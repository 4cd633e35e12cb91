"""The importers by name, and which of them a file is for."""

from __future__ import annotations

from pathlib import Path

from pghot.errors import UsageError
from pghot.plugins import Registry
from pghot.printable import printable
from pghot.recording.importers.importer import Importer
from pghot.recording.importers.input import Input

IMPORTERS: Registry[Importer] = Registry(
    "importer",
    ("pghot.recording.importers",),
    "pghot.importers",
    declares=("name", "summary", "clock", "slice_ns", "every_access", "objects", "guessed", "not_known"),
    given=1,
    order=lambda importer: (importer.guessed, importer.name),
)

_SHOWN_BYTES = 16


def importer_of(source: Input) -> type[Importer]:
    """The importer that claims the file. Raises `UsageError` with all formats and the first bytes when none does."""
    start = source.start()
    name = Path(source.name).name
    if not start:
        raise UsageError(f"{source.name} is empty", "make it again")
    for each in IMPORTERS.names():
        importer = IMPORTERS.get(each)
        if importer.claims(name, start):
            return importer
    raise UsageError(
        f"{source.name} is of no format that pghot knows: it begins with {looks_like(start)}",
        f"known are recordings of `pghot record`, Parquet that `pghot convert` made, {known_formats()}",
    )


def known_formats() -> str:
    """The formats in words, for hints."""
    return ", ".join(IMPORTERS.get(each).summary for each in IMPORTERS.names())


def looks_like(start: bytes) -> str:
    """The first bytes, as text if they are.

    >>> looks_like(b"GIF89a"), looks_like(b"\\x00\\x01")
    ('the text "GIF89a"', 'the bytes 00 01')
    """
    first = start[:_SHOWN_BYTES]
    line = start[:40].split(b"\n")[0]
    if line and all(32 <= byte < 127 or byte == 9 for byte in line):
        return f'the text "{printable(line.decode())}"'
    return f"the bytes {first.hex(' ')}"
