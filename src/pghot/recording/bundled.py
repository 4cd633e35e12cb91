"""The recordings of real programs that are installed with the package, by name.

Their accesses are in data/recordings. How well their pages compress was sampled in other runs of the same
commands. data/page_samples holds the regions and samples of those runs, and a note that says which they were.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from pghot.errors import UsageError, did_you_mean, unknown_name
from pghot.recording.importers.importing import Progress
from pghot.recording.open_file import open_file
from pghot.recording.other_run import transplanted
from pghot.recording.reader import Recording, open_recording

PREFIX = "bundled:"
_SUFFIX = ".pghot"


def names() -> list[str]:
    """The bundled recordings, sorted.

    >>> "redis-zipf" in names()
    True
    """
    return sorted(path.stem for path in _directory().glob(f"*{_SUFFIX}"))


def open_named(what: str, progress: Progress = lambda done, total: None) -> Recording:
    """A recording by its bundled name, `bundled:redis-zipf`, or a file of any format that can be imported. Raises as
    `open_file` and `path` do; for a file that is not there, with the nearest bundled name.

    progress  of an import, see `open_file`
    """
    if what.startswith(PREFIX):
        return open_bundled(what)
    try:
        return open_file(what, progress)
    except UsageError as error:
        if Path(what).exists():
            raise
        raise UsageError(str(error), f"{did_you_mean(what, names(), PREFIX)}{error.hint}") from None


def open_bundled(name: str) -> Recording:
    """The recording, with the samples of page contents. Raises as `path` does."""
    recording = open_recording(path(name))
    samples_path = _directory().with_name("page_samples") / path(name).name
    if samples_path.exists():
        other = open_recording(samples_path)
        if other.compressibility is not None:
            recording.compressibility = transplanted(
                other.compressibility, other.regions, recording.regions, other.info.notes[0]
            )
    return recording


def path(name: str) -> Path:
    """Where it is; `name` may carry the prefix `bundled:`. Raises `UsageError` for an unknown name."""
    plain = name.removeprefix(PREFIX)
    if plain not in names():
        raise unknown_name("bundled recording", plain, names())
    return _directory() / f"{plain}{_SUFFIX}"


def _directory() -> Path:
    return Path(str(files("pghot").joinpath("data", "recordings")))
