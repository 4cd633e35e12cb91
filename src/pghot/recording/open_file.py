"""Any file that can be read as a recording: one of pghot's own, Parquet, or another tool's."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from pghot.recording import format as fmt
from pghot.recording.convert import FileKind, convert, kind_of
from pghot.recording.reader import Recording, open_recording
from pghot.trusted import temporary_place

_FAST_LEVEL = 1


def open_file(what: str) -> Recording:
    """The recording in a file, or at a URI of one of pghot's own.

    What is not pghot's own is converted into a file without a name, which ends with this process. `pghot convert` keeps
    it, and then it opens at once. Raises as `open_recording` and `convert` do.
    """
    if kind_of(what) is FileKind.OURS:
        return open_recording(what)
    place = Path(tempfile.mkdtemp(prefix="pghot-import-", dir=temporary_place()))
    try:
        scratch = place / f"scratch{fmt.SUFFIX}"
        convert(what, scratch, level=_FAST_LEVEL)
        recording = open_recording(scratch)  # mapped: it stays readable when its name is gone
        recording.path = what
        return recording
    finally:
        shutil.rmtree(place, ignore_errors=True)
