"""The format files of tracepoints: where the fields are in the raw data (Documentation/trace/events.rst)."""

from __future__ import annotations

import re

_FIELD = re.compile(r"field:.*?(\w+);\s*offset:(\d{1,6});\s*size:(\d{1,6});")


def fields_of(text: str) -> dict[str, tuple[int, int]]:
    """(offset, size) in bytes of each field of 4 or 8 bytes.

    >>> fields_of("field:unsigned long start;\\toffset:16;\\tsize:8;\\tsigned:0;")
    {'start': (16, 8)}
    """
    found = {name: (int(offset), int(size)) for name, offset, size in _FIELD.findall(text)}
    return {name: place for name, place in found.items() if place[1] in (4, 8)}
