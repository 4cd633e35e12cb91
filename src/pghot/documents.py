"""TOML documents, the user's and those shipped with pghot, validated by pydantic, with errors that name the line.

tomllib keeps no positions, so the line of a key is looked up in the text. That is good enough for an error message.
The line is left out when the key cannot be found.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pghot.errors import UsageError, unknown_name
from pghot.printable import printable

MOST_BYTES = 1 << 24
Location = tuple[str | int, ...]


class Strict(BaseModel):
    """A table of a document: unknown keys, infinities and NaN are errors, and nothing changes it once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


M = TypeVar("M", bound=BaseModel)


def read_text(path: Path, kind: str, hint: str) -> str:
    """The file's text. Raises `UsageError`, which says why it cannot be read.

    A document of a stranger may name another one, so that may be a pipe or a device, which have no end.
    """
    shown = printable(str(path))
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise UsageError(f"cannot read {kind} '{shown}': not a regular file", hint)
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise UsageError(f"cannot read {kind} '{shown}': longer than {MOST_BYTES >> 20} MiB", hint)
        return data.decode("utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {kind} '{shown}': {error.strerror}", hint) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot read {kind} '{shown}': not UTF-8 text", hint) from error
    except ValueError as error:  # a name with a zero byte in it
        raise UsageError(f"cannot read {kind} '{shown}': {error}", hint) from error


def read_toml(text: str, where: str, hint: str) -> dict[str, Any]:
    """`text` as TOML. Raises `UsageError` for what is none, or has whole numbers of more than TOML's 64 bits."""
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise UsageError(f"{where}: not valid TOML: nested too deeply", hint) from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: not valid TOML: {printable(str(error))}", hint) from None
    except ValueError:  # Python reads no number of thousands of digits
        raise UsageError(f"{where}: not valid TOML: a number beyond its 64 bits", hint) from None
    for location, value in _leaves(data, ()):
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise UsageError(*_problem(location, "a number beyond the 64 bits of TOML", text, where))
    return data


def _leaves(value: Any, location: Location) -> Iterator[tuple[Location, Any]]:
    """Each value that is no table or array, and where it is."""
    if isinstance(value, dict):
        inner: Iterable[tuple[str | int, Any]] = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    else:
        yield location, value
        return
    for key, each in inner:
        yield from _leaves(each, (*location, key))


def parse_document(model: type[M], text: str, where: str) -> M:
    """`text` as TOML, validated as `model`. Raises `UsageError` "WHERE:LINE: key: what is wrong"."""
    data = read_toml(text, where, "compare with the files of `pghot list`")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise UsageError(*_explain(error, text, where)) from error


def _explain(error: ValidationError, text: str, where: str) -> tuple[str, str]:
    # A misspelt key is also a missing one. The unknown key is the more helpful error.
    problems = error.errors(include_url=False)
    first, *rest = sorted(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    kind = first["type"]
    what = "unknown key" if kind == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
    more = f" (and {len(rest)} more)" if rest else ""
    message, hint = _problem(first["loc"], f"{what}{more}", text, where)
    return message, "remove the key or correct its name" if kind == "extra_forbidden" else hint


def _problem(location: Location, what: str, text: str, where: str) -> tuple[str, str]:
    """Message and hint of an error about the value there."""
    line = find_line(text, location)
    key = printable(".".join(str(part) for part in location)) or "document"
    place = f"{where}:{line}" if line else where
    return f"{place}: {key}: {printable(what)}", "correct the value"


def shipped_names(folder: str) -> list[str]:
    """The TOML files that are installed with the package in a folder below data/, without their suffix, sorted."""
    files = resources.files("pghot").joinpath("data", folder).iterdir()
    return sorted(each.name.removesuffix(".toml") for each in files if each.name.endswith(".toml"))


def shipped_text(folder: str, name: str) -> str:
    """The text of one of these files."""
    return resources.files("pghot").joinpath("data", folder, f"{name}.toml").read_text("utf-8")


class Shipped(Generic[M]):
    """The documents of one kind that are installed with the package, and a way to read the user's own files of it.

    kind    what messages call one of them, such as "device"
    folder  where they are below data/, and their name in `pghot list`
    """

    def __init__(self, model: type[M], kind: str, folder: str) -> None:
        self._model, self._kind, self._folder = model, kind, folder

    def names(self) -> list[str]:
        """The installed ones, sorted."""
        return shipped_names(self._folder)

    def load(self, name: str | Path) -> M:
        """The installed document called `name`, or the one in the file `name` (it ends in .toml or has a slash).

        Raises `UsageError`: for an unknown name it suggests the nearest; else it says what is wrong, in which file and
        key and, where it can be found, on which line.
        """
        if isinstance(name, str) and not name.endswith(".toml") and "/" not in name:
            if name not in self.names():
                raise unknown_name(self._kind, name, self.names())
            return parse_document(self._model, shipped_text(self._folder, name), f"{name}.toml")
        text = read_text(Path(name), f"{self._kind} file", f"see `pghot list {self._folder}`")
        return parse_document(self._model, text, str(name))


def find_line(text: str, location: Sequence[str | int]) -> int | None:
    """Line (from 1) of the key that a validation error's location names; None when it is not found.

    Follows the location through table headers: `("nodes", 1, "cpus")` is the line of `cpus =` after the
    second `[[nodes]]`.

    >>> find_line("a = 1\\n[t]\\nb = 2\\n", ("t", "b"))
    3
    >>> find_line("a = 1\\n[t.u]\\nb = 2\\n", ("t", "u", "b"))
    3
    """
    lines = text.splitlines()
    start = 0
    found = None
    pending = list(location)
    while pending:
        part = pending.pop(0)
        if isinstance(part, int):
            continue
        index = pending[0] if pending and isinstance(pending[0], int) else 0
        header = re.compile(rf"^\s*\[+\s*(?:[\w.-]+\.)?{re.escape(part)}\s*\]+")
        key = re.compile(rf'^\s*"?{re.escape(part)}"?\s*(?:=|\.)|[{{,]\s*"?{re.escape(part)}"?\s*=')
        headers = [i for i in range(start, len(lines)) if header.match(lines[i])]
        if len(headers) > index:
            start = found = headers[index]
            continue
        end = next((i for i in range(start + 1, len(lines)) if lines[i].lstrip().startswith("[")), len(lines))
        hit = next((i for i in range(start, end) if key.search(lines[i])), None)
        if hit is None:
            inner = re.compile(rf"^\s*\[+\s*(?:[\w.-]+\.)?{re.escape(part)}\s*\.")
            if pending and any(inner.match(line) for line in lines[start:]):
                continue  # a table without a header of its own: only its subtables have headers
            break
        start = found = hit
    return None if found is None else found + 1
