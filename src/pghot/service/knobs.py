"""Kernel knobs that pghot changes: the journal knows the old value first, and each is put back in reverse order."""

from __future__ import annotations

from collections.abc import Iterable

from pghot.errors import NotPermittedError, PghotError, UnsupportedError
from pghot.kernel.sysroot import SysRoot
from pghot.service.journal import Journal


class Knobs:
    """Sets knobs through a journal. Without one (nothing may be changed) `set` refuses."""

    def __init__(self, root: SysRoot, journal: Journal | None) -> None:
        self._root, self._journal = root, journal
        self._changed: list[tuple[str, str, str]] = []

    def set(self, path: str, value: str) -> None:
        """Give a knob a value. Raises a `PghotError` when the kernel refuses or lacks it."""
        try:
            old = self._root.read(path)
        except FileNotFoundError:
            raise UnsupportedError(f"no {path}", "this kernel lacks it; see `pghot doctor`") from None
        except OSError as error:
            raise NotPermittedError(f"cannot read {path}: {error.strerror}", "run as root") from None
        if old == value:
            return
        if self._journal is not None:
            self._journal.knob(path, old, value)
        write_knob(self._root, path, value)
        self._changed.append((path, old, value))

    def restore(self) -> list[str]:
        """Put everything back, last change first; returns what could not be, in words."""
        problems = put_back(self._root, self._changed)
        self._changed = []
        return problems


def write_knob(root: SysRoot, path: str, value: str) -> None:
    """Write a knob, with the errors in words."""
    try:
        root.write(path, value)
    except PermissionError:
        raise NotPermittedError(f"not permitted to write {path}", "run as root") from None
    except OSError as error:
        raise PghotError(
            f"cannot write '{value}' to {path}: {error.strerror}", "see `pghot doctor`"
        ) from None


def put_back(root: SysRoot, changed: Iterable[tuple[str, str, str]]) -> list[str]:
    """Restore (path, old, new) entries in reverse order; what somebody else changed since is left alone."""
    problems = []
    for path, old, new in reversed(list(changed)):
        try:
            now = root.read(path)
            if now == old:
                continue
            if now != new:
                problems.append(f"{path} is '{now}', which pghot did not write; left alone (it was '{old}')")
                continue
            root.write(path, old)
        except FileNotFoundError:
            continue  # what it belonged to is gone
        except OSError as error:
            problems.append(f"{path} could not be put back to '{old}': {error.strerror}")
    return problems
