"""`--set NAME.OPTION=VALUE`: options of policies and sources as text, checked before anything runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pghot.errors import UsageError, did_you_mean, unknown_name
from pghot.parameters import MOST, shown


def parse_options(
    assignments: Sequence[str],
    planned: Iterable[str],
    accepted_by: Callable[[str], Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Options by name from texts such as "pghot-default.freq_threshold=1". Values are JSON or plain words.

    planned      the policies and sources that will run; naming any other is a mistake
    accepted_by  returns the options of a name with their defaults
    Raises `UsageError` for a text of another form, an unknown policy or option, or a value of the wrong kind.

    >>> parse_options(["lru-bw.period_ms=500"], ["lru-bw"], lambda name: {"period_ms": 1000.0})
    {'lru-bw': {'period_ms': 500}}
    """
    options: dict[str, dict[str, Any]] = {}
    names = list(planned)
    for text in assignments:
        key, equals, value = text.partition("=")
        name, dot, option = key.partition(".")
        if not equals or not dot:
            raise UsageError(
                f"--set '{text}' is not of the form NAME.OPTION=VALUE",
                "write it as in --set pghot-default.freq_threshold=1",
            )
        if name not in names:
            raise UsageError(
                f"--set {key}: '{name}' is not part of this run",
                f"{did_you_mean(name, names)}these run: {', '.join(names)}",
            )
        defaults = accepted_by(name)
        check_option(name, option, defaults)
        options.setdefault(name, {})[option] = _value(key, value, defaults[option])
    return options


def check_option(name: str, option: str, known: Iterable[str]) -> None:
    """Raise `UsageError` for an option that the policy, source or mover `name` does not have."""
    if option in known:
        return
    if not list(known):
        raise UsageError(f"'{name}' has no options, so it has no '{option}'", "leave this option out")
    raise unknown_name(f"option of '{name}'", option, sorted(known))


def typed_options(name: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `name` when they come as values (from a TOML file), not texts. Raises as `parse_options`."""
    for option in given:
        check_option(name, option, defaults)
    return {option: _of_kind(option, value, defaults[option]) for option, value in given.items()}


def _value(key: str, text: str, default: Any) -> Any:
    """The text as a value of the same kind as `default`. Lists are JSON or words separated by commas."""
    if isinstance(default, str):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if isinstance(value, str) and not isinstance(default, bool | int | float | None):
        value = [word for word in value.split(",") if word]
    return _of_kind(f"--set {key}", value, default, text)


def _of_kind(key: str, value: Any, default: Any, text: str = "") -> Any:
    """The value, if it is of the same kind as `default`. `text` is what the user wrote, if it was text."""
    said = f"{key}: '{text or value}'"
    if isinstance(default, str):
        if not isinstance(value, str):
            raise UsageError(f"{said} is not text", "give text")
        return value
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise UsageError(f"{said} is not true or false", "give true or false")
        return value
    if default is None or isinstance(default, int | float):
        return _number(key, said, value, default)
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise UsageError(f"{said} is not a list of words", "separate the words with commas")
    return tuple(value)


def _number(key: str, said: str, value: Any, default: float | None) -> float:
    """The value as a number of `default`'s kind. None, for a default of the store's own, asks for a whole number."""
    whole = default is None or isinstance(default, int)
    wanted = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{said} is not a number", f"give {wanted}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{said} is not a finite number", f"give {wanted}")
    if whole and isinstance(value, float):
        raise UsageError(f"{said} is not a whole number", "give a whole number")
    if abs(value) > MOST:
        raise UsageError(f"{key}: {shown(value)} is too large a number", f"give a number up to {MOST:g}")
    return value
