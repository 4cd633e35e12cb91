"""Any file that can be read as a recording: one of pghot's own, Parquet, or another tool's."""

from __future__ import annotations

import os
import shutil
import tempfile
from copy import copy
from pathlib import Path

from pghot.recording import format as fmt
from pghot.recording.convert import FileKind, convert, kind_of
from pghot.recording.importers.importing import Progress
from pghot.recording.reader import Recording, open_recording
from pghot.trusted import temporary_place

_FAST_LEVEL = 1


_kept: dict[tuple[str, int, int, int], Recording] = {}


def open_file(what: str, progress: Progress = lambda done, total: None) -> Recording:
    """The recording in a file, or at a URI of one of pghot's own.

    What is not pghot's own is converted into a file without a name, once, and kept as long as this process lives: a
    comparison opens what it replays for each seed. `pghot convert` keeps it for longer, and then it opens at once.

    progress  of an import, see `import_recording`

    Raises as `open_recording` and `convert` do.
    """
    if kind_of(what) is FileKind.OURS:
        return open_recording(what)
    status = os.stat(what)
    version = (what, status.st_ino, status.st_size, status.st_mtime_ns)
    if version not in _kept:
        _kept[version] = _converted(what, progress)
    return copy(_kept[version])


def _converted(what: str, progress: Progress) -> Recording:
    place = Path(tempfile.mkdtemp(prefix="pghot-import-", dir=temporary_place()))
    try:
        scratch = place / f"scratch{fmt.SUFFIX}"
        convert(what, scratch, level=_FAST_LEVEL, progress=progress)
        recording = open_recording(scratch)  # mapped: it stays readable when its name is gone
        recording.path = what
        return recording
    finally:
        shutil.rmtree(place, ignore_errors=True)
