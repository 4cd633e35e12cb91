"""`--set NAME.OPTION=VALUE`: options of policies and sources as text, checked before anything runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pghot.errors import UsageError, did_you_mean
from pghot.parameters import checked_options


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
        given = {option: _value(value, defaults.get(option))}
        options.setdefault(name, {}).update(checked_options(name, given, defaults))
    return options


def _value(text: str, default: Any) -> Any:
    """The text as a value where it can be one of the same kind as `default`. Lists are JSON or words separated by
    commas.
    """
    if isinstance(default, str):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if isinstance(value, str) and not isinstance(default, bool | int | float | None):
        value = [word for word in value.split(",") if word]
    return value
