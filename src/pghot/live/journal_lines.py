"""Lines of a journal as they are written: sealed, one write(2) each, whole or not at all."""

from __future__ import annotations

import base64
import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pghot.errors import PghotError
from pghot.kernel.process import Identity
from pghot.kernel.watched import FileIdentity
from pghot.sealed import seal

Whose = Identity | FileIdentity


def origins_facts(whose: Whose, name: str, packed: bytes, shared: bool) -> dict[str, Any]:
    """What a line says of the packed runs of a program or file."""
    who: dict[str, Any]
    if isinstance(whose, FileIdentity):
        who = {"kind": "file_origins", "device": whose.device, "inode": whose.inode, "born_ns": whose.born_ns}
    else:
        who = {"kind": "origins", "pid": whose.pid, "start_ticks": whose.start_ticks, "mm": list(whose.mm)}
    if shared:
        who["shared"] = True
    return who | {"name": name, "runs": base64.b64encode(packed).decode()}


def append_line(fd: int, path: Path, facts: Mapping[str, Any]) -> int:
    """Append one sealed line; returns its bytes. Raises `PghotError` when it cannot be written whole; the file is cut
    back then."""
    return append(fd, path, (seal(facts) + "\n").encode("utf-8", "surrogateescape"))


def append(fd: int, path: Path, data: bytes) -> int:
    """As `append_line`, for whole lines that were read."""
    size = os.fstat(fd).st_size
    try:
        if os.write(fd, data) == len(data):
            return len(data)
        reason = os.strerror(errno.ENOSPC)
    except OSError as error:
        reason = error.strerror or str(error)
    os.ftruncate(fd, size)
    raise PghotError(
        f"cannot write the journal {path}: {reason}",
        "nothing is changed without it; make room, or name another file",
    )
