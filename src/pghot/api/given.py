"""What people write in Python, as the lab and the recorder take it: text as on the command line, or the plain value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from pghot.errors import UsageError
from pghot.lab.run_spec import RunSpec
from pghot.units import parse_duration_ns, parse_share, parse_shares, parse_size, parse_size_or_times

Share: TypeAlias = float | str
Names: TypeAlias = str | Sequence[str]


def names(given: Any) -> Any:
    """A list of what is one alone, or a text with commas; anything else as it is.

    >>> names("numab2, pghot"), names(["numab2"]), names("")
    (['numab2', 'pghot'], ['numab2'], [])
    """
    if isinstance(given, str):
        return [word.strip() for word in given.split(",") if word.strip()]
    return [given] if isinstance(given, RunSpec) else given


def several_shares(given: object) -> list[float] | None:
    """The shares, ascending, of a list of them or of a text that names several; None for a single one.

    >>> several_shares("10%,50%"), several_shares([0.5, "20%"]), several_shares("20%")
    ([0.1, 0.5], [0.2, 0.5], None)
    """
    if isinstance(given, str) and ("," in given or ".." in given):
        return parse_shares(given)
    if isinstance(given, list | tuple):
        if not given:
            raise UsageError("no share named (fast_share)", "give one such as '20%', or a list of them")
        return sorted({parse_share(str(each)) for each in given})
    return None


def values(given: Mapping[str, Any], of_text: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """The values, those that are text read by the parser of their name. Raises as the parsers do."""
    return {
        name: of_text[name](value) if isinstance(value, str) and name in of_text else value
        for name, value in given.items()
    }


def settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `lab.setting.Setting`: "20%", "60s", "one-pass", "2MiB", "16x" for the numbers that these are.

    >>> settings({"fast_share": "20%", "duration_s": "1min", "stands_for": "16x", "seeds": 1})
    {'fast_share': 0.2, 'duration_s': 60.0, 'stands_for': None, 'seeds': 1, 'times': 16.0}
    """
    found = values(given, _SETTING)
    if isinstance(stands_for := found.get("stands_for"), str):
        found["stands_for"], times = parse_size_or_times(stands_for)
        found |= {} if times is None else {"times": times}
    return found


def _seconds(text: str) -> float:
    return parse_duration_ns(text) / 1e9


_SETTING: Mapping[str, Callable[[str], Any]] = {
    "fast_share": lambda text: None if text == "as-file" else parse_share(text),
    "warmup": parse_share,
    "sample": parse_share,
    "duration_s": lambda text: None if text == "one-pass" else _seconds(text),
    "slice_ms": lambda text: parse_duration_ns(text) / 1e6,
    "page_bytes": parse_size,
}
RECORDING: Mapping[str, Callable[[str], Any]] = {
    "slice_ns": parse_duration_ns,
    "max_bytes": parse_size,
    "max_duration_s": _seconds,
    "takes_s": _seconds,
    "cache_bytes": lambda text: tuple(parse_size(size) for size in text.split(",")),
    "notes": lambda text: (text,),
}
