"""`--set POLICY.OPTION=VALUE`: options of policies as text, checked before anything runs."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from pghot.engine.settings import EngineSettings
from pghot.errors import UsageError, unknown_name
from pghot.policies.registry import make_policy

# What the policy itself tells the engine, from the machine it runs on.
_FROM_THE_MACHINE = (
    "store",
    "pages",
    "page_bytes",
    "nodes",
    "top_nodes",
    "top_of_node",
    "scale",
    "enabled_sources",
)


def parse_options(
    assignments: Sequence[str],
    planned: Iterable[str],
    accepted_by: Callable[[str], dict[str, Any]] | None = None,
) -> dict[str, dict[str, Any]]:
    """Options by policy out of texts such as "pghot-default.freq_threshold=1"; values are JSON or plain words.

    planned      the policies (live: sources too) that will run: naming another is a mistake
    accepted_by  the options of a name with their defaults; None: those of the policy
    Raises `UsageError` for a text of another form, an unknown policy or option, or a value of the wrong kind.

    >>> parse_options(["lru-bw.period_ms=500"], ["lru-bw"])
    {'lru-bw': {'period_ms': 500}}
    """
    options: dict[str, dict[str, Any]] = {}
    names = list(planned)
    for text in assignments:
        key, equals, value = text.partition("=")
        policy, dot, option = key.partition(".")
        if not equals or not dot:
            raise UsageError(
                f"--set '{text}' is not NAME.OPTION=VALUE", "as in pghot-default.freq_threshold=1"
            )
        if policy not in names:
            raise unknown_name("name among those that run", policy, names)
        defaults = (accepted_by or accepted)(policy)
        if option not in defaults:
            raise unknown_name(f"option of '{policy}'", option, sorted(defaults) or ["(it has none)"])
        options.setdefault(policy, {})[option] = _value(key, value, defaults[option])
    return options


def accepted(policy: str) -> dict[str, Any]:
    """The options of a policy with their defaults."""
    parameters = inspect.signature(type(make_policy(policy))).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return {f.name: f.default for f in fields(EngineSettings) if f.name not in _FROM_THE_MACHINE}
    return {name: parameter.default for name, parameter in parameters.items()}


def typed_options(name: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `name` as values (of a TOML file) rather than texts. Raises `UsageError` as `parse_options`."""
    for option in given:
        if option not in defaults:
            raise unknown_name(f"option of '{name}'", option, sorted(defaults) or ["(it has none)"])
    return {option: _of_kind(option, value, defaults[option]) for option, value in given.items()}


def _value(key: str, text: str, default: Any) -> Any:
    """The text as the kind of value that `default` is; lists come as JSON or as words between commas."""
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
    """The value, when it is of the kind that `default` is. `text` is what the user wrote, when that was text."""
    shown = f"{key}: '{text or value}'"
    if isinstance(default, str):
        if not isinstance(value, str):
            raise UsageError(f"{shown} is not a text", "give a text")
        return value
    if isinstance(default, bool) or default is None or isinstance(default, int | float):
        wanted = "true or false" if isinstance(default, bool) else "a number"
        if not isinstance(value, bool | int | float | None) or isinstance(value, bool) is not isinstance(
            default, bool
        ):
            raise UsageError(f"{shown} is not {wanted}", f"give {wanted}")
        if isinstance(default, int) and isinstance(value, float):
            raise UsageError(f"{shown} is not a whole number", "give a whole number")
        return value
    if not isinstance(value, list):
        raise UsageError(f"{shown} is not a list of words", "separate the words by commas")
    return tuple(value)
