"""Kernel knobs that pghot changes: the journal knows the old value first, and they are put back in reverse order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pghot.errors import NotPermittedError, PghotError, UnsupportedError
from pghot.kernel.damon_sysfs import KDAMONDS, NUMBER
from pghot.kernel.knob_files import check_knob
from pghot.kernel.sysroot import SysRoot
from pghot.live.journal import Journal

# Path, value before, value after.
Change = tuple[str, str, str]


@dataclass(slots=True)
class _Knob:
    """A changed knob: its first value, and all values that we gave it since."""

    path: str
    old: str
    ours: set[str] = field(default_factory=set)

    @property
    def values(self) -> set[str]:
        return {self.old, *self.ours}


def knobs_of(changed: Iterable[Change]) -> list[_Knob]:
    """The changed knobs in the order of their first change. A value that somebody else set becomes the old one."""
    found: dict[str, _Knob] = {}
    for path, old, new in changed:
        knob = found.setdefault(path, _Knob(path, old))
        if old not in knob.values:
            knob.old, knob.ours = old, set()
        knob.ours.add(new)
    return list(found.values())


class Knobs:
    """Sets knobs through a journal. Without one (nothing may be changed) `set` refuses."""

    def __init__(self, root: SysRoot, journal: Journal | None) -> None:
        self._root, self._journal = root, journal
        self._changed: list[Change] = []
        self._given: dict[str, str] = {}

    def set(self, path: str, value: str) -> None:
        """Give a knob a value. Raises a `PghotError` when the kernel refuses or lacks it, or `undo` would refuse it."""
        _check(path, value)
        try:
            old = self._root.read(path)
        except FileNotFoundError:
            raise UnsupportedError(
                f"this kernel has no {path}", "use another source or mover: see `pghot doctor`"
            ) from None
        except OSError as error:
            raise NotPermittedError(f"cannot read {path}: {error.strerror}", "run as root") from None
        if old == value:
            self._given[path] = value
            return
        _check(path, old)
        # A budget sets the same few values again and again while a daemon runs. They are written to the journal once.
        known = any(knob.path == path and {old, value} <= knob.values for knob in knobs_of(self._changed))
        if self._journal is not None and not known:
            self._journal.knob(path, old, value)
        write_knob(self._root, path, value)
        self._given[path] = value
        if not known:
            self._changed.append((path, old, value))

    def changed_by_others(self) -> list[str]:
        """Each knob that has another value than pghot gave it last: which, both values, and what to do.

        The state of a kdamond is not looked at: it turns itself off when its programs have ended.
        """
        return [
            f"{path} is {now}, but pghot had set it to '{value}'; keep other tools (sysctl, tuned) from changing it, "
            f"and write '{value}' or start pghot anew"
            for path, value in self._given.items()
            if (path == NUMBER or not path.startswith(KDAMONDS))
            and (now := _now(self._root, path)) != f"'{value}'"
        ]

    def restore(self) -> list[str]:
        """Put everything back, last change first; returns what could not be, in words."""
        _, problems = put_back(self._root, self._changed)
        self._changed, self._given = [], {}
        return problems


def _now(root: SysRoot, path: str) -> str:
    try:
        return f"'{root.read(path)}'"
    except FileNotFoundError:
        return "gone"
    except OSError as error:
        return f"not to be read ({error.strerror})"


def _check(path: str, value: str) -> None:
    """Nothing is set that could not be undone from the journal. This also holds for sources of other packages."""
    try:
        check_knob(path, value)
    except ValueError as error:
        raise PghotError(
            f"a knob that could not be put back: {error}", "pghot.kernel.knob_files lists those that can"
        ) from None


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


def put_back(root: SysRoot, changed: Iterable[Change]) -> tuple[list[str], list[str]]:
    """Put knobs back in reverse order. A knob that somebody else has changed since is left alone.

    Returns the paths of those that were written, and what could not be put back, in words.
    """
    written, problems = [], []
    for knob in reversed(knobs_of(changed)):
        try:
            now = root.read(knob.path)
            if now == knob.old:
                continue
            if now not in knob.ours:
                problems.append(
                    f"{knob.path} is '{now}', which pghot did not write; left alone (it was '{knob.old}')"
                )
                continue
            root.write(knob.path, knob.old)
            written.append(knob.path)
        except FileNotFoundError:
            continue  # the thing it belonged to is gone
        except OSError as error:
            problems.append(f"{knob.path} could not be put back to '{knob.old}': {error.strerror}")
    return written, problems
