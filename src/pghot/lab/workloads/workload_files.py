"""The workloads by name, and workload files.

`workload:gups` is the bundled data/workloads/gups.toml, `workload:my.toml` a file of the user's, `masim:FILE`
a configuration of masim.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from pghot.documents import read_text, read_toml, shipped_names, shipped_text
from pghot.errors import UsageError, unknown_name
from pghot.lab.workloads.keys import MasimKeys, Pattern, RunKeys
from pghot.printable import printable
from pghot.recording.trace import Trace

_FOLDER = "workloads"
_KINDS = [each.model_fields["kind"].default for each in get_args(get_args(Pattern)[0])]
_HINT = "see docs/workloads.md for the keys of each kind"


def workload_names() -> list[str]:
    """The bundled workloads."""
    return shipped_names(_FOLDER)


def workload_summary(name: str) -> str:
    """One line about a bundled workload: the first of its file."""
    return shipped_text(_FOLDER, name).partition("\n")[0].removeprefix("# ")


def make_workload(spec: str | Path, seed: int = 0, **overrides: Any) -> Trace:
    """The workload that `spec` names; `overrides` replace top-level keys of its file (`footprint="1 GiB"`).

    spec  "gups" or "workload:gups" (bundled), "workload:FILE.toml" or a path (a file), "masim:FILE";
          for masim `slice_ms` (default 20) says how much of masim's time is one slice
    Raises `UsageError`: unknown name, unreadable file, unknown key, impossible value.
    """
    text = str(spec)
    if text.startswith("masim:"):
        if text == "masim:":
            raise UsageError("no masim file named", "give masim:FILE, a configuration of masim")
        return _make_masim(Path(text.removeprefix("masim:")), seed, overrides)
    name = text.removeprefix("workload:")
    path = Path(name)
    if name in workload_names():
        return _make(f"workload:{name}", shipped_text(_FOLDER, name), f"{name}.toml", seed, overrides)
    if path.suffix == ".toml" or path.is_file():
        content = read_text(path, "workload file", _HINT)
        return _make(f"workload:{path.name}", content, str(path), seed, overrides)
    raise unknown_name("workload", name, workload_names())


def _make(name: str, content: str, file: str, seed: int, overrides: dict[str, Any]) -> Trace:
    """A trace from the content of a workload file."""
    table = read_toml(content, file, _HINT)
    return workload_from_table(table | overrides, file, seed, name, content)


def workload_from_table(
    table: dict[str, Any], file: str, seed: int, name: str = "workload", content: str = ""
) -> Trace:
    """A trace from the keys of a workload. Errors point into `file` and `content`."""
    from pghot.lab.workloads.patterns import PhasesPattern, make_pattern
    from pghot.lab.workloads.workload_trace import DEFAULT_SLICES, WorkloadTrace

    try:
        run = RunKeys.model_validate(
            {key: value for key, value in table.items() if key in RunKeys.model_fields}
        )
        adapter: TypeAdapter[Pattern] = TypeAdapter(Pattern)
        pattern = adapter.validate_python({k: v for k, v in table.items() if k not in RunKeys.model_fields})
    except ValidationError as error:
        raise _first_problem(error, content, file) from error
    with _of(file):
        first = make_pattern(pattern, run.page_bytes, seed)
    slices = run.slices or (first.slices if isinstance(first, PhasesPattern) else DEFAULT_SLICES)
    return WorkloadTrace(name, run, lambda: make_pattern(pattern, run.page_bytes, seed), slices, seed)


def _make_masim(path: Path, seed: int, overrides: dict[str, Any]) -> Trace:
    from pghot.lab.workloads.masim import MasimPattern, read_masim
    from pghot.lab.workloads.workload_trace import WorkloadTrace

    config = read_masim(path)
    try:
        run = MasimKeys.model_validate(overrides)
    except ValidationError as error:
        raise _first_problem(error, "", str(path)) from error
    with _of(path.name):
        first = MasimPattern(config, run.page_bytes, run.slice_ms)
    slices = run.slices or first.slices
    return WorkloadTrace(
        f"masim:{path.name}", run, lambda: MasimPattern(config, run.page_bytes, run.slice_ms), slices, seed
    )


@contextlib.contextmanager
def _of(file: str) -> Iterator[None]:
    """Errors raised inside name the file."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{file}: {error}", error.hint) from None


def _first_problem(error: ValidationError, content: str, file: str) -> UsageError:
    """The first thing wrong in a workload file, with its line where the key is in the text."""
    problem = error.errors()[0]
    place = [str(part) for part in problem["loc"] if part not in _KINDS]
    if problem["type"].startswith("union_tag"):
        kind = problem.get("input")
        kind = kind.get("kind", "") if isinstance(kind, dict) else ""
        named = unknown_name("workload kind", str(kind), _KINDS)
        return UsageError(f"{file}: {named}", named.hint)
    key = place[-1] if place else ""
    found = re.search(rf"^\s*{re.escape(key)}\s*=", content, re.MULTILINE) if key else None
    line = f":{content[: found.end()].count(chr(10)) + 1}" if found else ""
    what = (
        "unknown key"
        if problem["type"] == "extra_forbidden"
        else problem["msg"].removeprefix("Value error, ")
    )
    return UsageError(printable(f"{file}{line}: {'.'.join(place)}: {what}"), _HINT)
