"""Checks for what policies, sources and movers take as options."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from pghot.errors import UsageError, unknown_name

MOST = 1e15  # far beyond any use, and still exact as a float and as an int64
_SEVERAL = (list, tuple, set, frozenset)
MOST_NS = 1e9  # no single sample, page or entry costs a second


@dataclass(frozen=True, slots=True)
class Knob:
    """Written beside a number that is an option: `period_ms: Annotated[float, Knob(1, MOST, 100, 10_000)] = 1000`.

    least, most  what it may be
    low, high    where `pghot tune` looks for a better value; None: it leaves this one alone
    """

    least: float
    most: float
    low: float | None = None
    high: float | None = None

    @property
    def words(self) -> str:
        """What it may be."""
        return f"{self.least:g} to {self.most:g}"


def knobs_of(takes: Callable[..., Any]) -> dict[str, Knob]:
    """The numbers with a `Knob` among the parameters of a class or function, by name.

    >>> from typing import Annotated
    >>> def run(often: Annotated[int, Knob(1, 9, 2, 4)] = 3, loud: bool = False) -> None: ...
    >>> knobs_of(run)
    {'often': Knob(least=1, most=9, low=2, high=4)}
    """
    try:
        parameters = inspect.signature(takes, eval_str=True).parameters.values()
    except NameError:  # another package's class, whose annotations only its type checker understands
        return {}
    return {
        each.name: note
        for each in parameters
        for note in getattr(each.annotation, "__metadata__", ())
        if isinstance(note, Knob)
    }


def check_knobs(owner: str, takes: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Raise `UsageError` for a given value that its `Knob` does not allow. None is what the owner chooses."""
    for option, knob in knobs_of(takes).items():
        if given.get(option) is not None:
            check_number(owner, option, given[option], knob.least, knob.most)


def checked_options(owner: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `owner`, each of the same kind as its default; lists become tuples.

    A default of None stands for a whole number that depends on the machine or the store. Raises `UsageError`.

    >>> checked_options("pebs", {"period_misses": "often"}, {"period_misses": 10007})
    Traceback (most recent call last):
    pghot.errors.UsageError: pebs.period_misses is 'often', which is not a whole number
    """
    for option in given:
        if option not in defaults and not defaults:
            raise UsageError(f"'{owner}' has no options, so it has no '{option}'", "leave this option out")
        if option not in defaults:
            raise unknown_name(f"option of '{owner}'", option, sorted(defaults))
    return {option: _of_kind(f"{owner}.{option}", value, defaults[option]) for option, value in given.items()}


def _of_kind(option: str, value: Any, default: Any) -> Any:
    """The value. A default of a kind that is not known here says nothing about it."""
    if isinstance(default, bool):
        return _checked(option, value, isinstance(value, bool), "true or false")
    if isinstance(default, str):
        return _checked(option, value, isinstance(value, str), "text")
    if isinstance(default, _SEVERAL):
        words = isinstance(value, _SEVERAL) and all(isinstance(word, str) for word in value)
        return tuple(_checked(option, value, words, "a list of words"))
    if default is None and value is None:
        return None
    if default is None or isinstance(default, Real):
        whole = default is None or isinstance(default, Integral)
        kind, wanted = (Integral, "a whole number") if whole else (Real, "a number")
        _checked(option, value, isinstance(value, kind) and not isinstance(value, bool), wanted)
        return _checked(option, value, -MOST <= value <= MOST, f"{wanted} up to {MOST:g}")
    return value


def check_kind(name: str, value: object, kinds: tuple[type, ...], wanted: str) -> None:
    """Raise `UsageError` unless the value is of one of these kinds.

    >>> check_kind("recording", 3, (str,), "a path")
    Traceback (most recent call last):
    pghot.errors.UsageError: recording is 3, which is not a path
    """
    _checked(name, value, isinstance(value, kinds), wanted)


def _checked(option: str, value: Any, right: bool, wanted: str) -> Any:
    if not right:
        raise UsageError(f"{option} is {shown(value)}, which is not {wanted}", f"give {wanted}")
    return value


def check_number(owner: str, option: str, value: float, least: float, most: float = MOST) -> None:
    """Raise `UsageError` unless `least` <= value <= `most`. A NaN is always refused.

    >>> check_number("pebs", "period_misses", 0, 1)
    Traceback (most recent call last):
    pghot.errors.UsageError: pebs.period_misses is 0, which is less than it can be
    """
    if least <= value <= most:
        return
    wrong = f"which is {'less' if value < least else 'more'} than it can be"
    if isinstance(value, float) and not math.isfinite(value):
        wrong = "which is not a finite number"
    allowed = f"{least:g} or more" if most == MOST and value < least else f"{least:g} to {most:g}"
    raise UsageError(f"{owner}.{option} is {shown(value)}, {wrong}", f"give {allowed}")


def check_several(name: str, words: object) -> None:
    """Raise `UsageError` for one word in the place of a list: its letters would be taken for names.

    >>> check_several("sources", "pebs")
    Traceback (most recent call last):
    pghot.errors.UsageError: sources is 'pebs', which is one word and no list
    """
    if isinstance(words, str):
        raise UsageError(f"{name} is {shown(words)}, which is one word and no list", f"give [{words!r}]")


def shown(value: object) -> str:
    """A value for a message, cut short when it is too long to read.

    >>> shown(10**400), shown(0.5), shown("often")
    ('1000000000000000...', '0.5', "'often'")
    """
    text = repr(value)
    return text if len(text) <= 24 else f"{text[:16]}..."
