"""What the fuzzers of TOML files share: a damaged file, and what a refusal of it must say."""

from __future__ import annotations

import contextlib
import math
import random
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from builders.toml_damage import damaged_toml
from fuzz.harness import Silent
from pghot.errors import PghotError


def damaged_file(rng: random.Random, folder: Path, texts: Sequence[str]) -> Path:
    """One of these documents, damaged; one in fifty is not."""
    text = rng.choice(texts)
    path = folder / "a.toml"
    changed = damaged_toml(rng, text) if rng.randrange(50) else text
    path.write_bytes(changed.encode("utf-8", errors="surrogateescape"))
    return path


@contextlib.contextmanager
def refusals_name(file: str) -> Iterator[None]:
    """Raises `Silent` where a refusal does not say which file is meant, or is no line for a terminal."""
    try:
        yield
    except PghotError as error:
        if file not in str(error):
            raise Silent(f"the refusal does not name {file}: {error}") from None
        if len(str(error)) > 600:
            raise Silent(f"a refusal of {len(str(error))} characters: {str(error)[:200]}") from None
        raise


def same_numbers(given: Any, taken: Any, where: str = "") -> None:
    """Raises `Silent` where a number of the file is another one in what was read from it.

    given  from tomllib
    taken  as `model_dump` has it; keys that are not there, and texts, are not compared
    """
    if isinstance(given, dict) and isinstance(taken, dict):
        for key, value in given.items():
            if key in taken:
                same_numbers(value, taken[key], f"{where}.{key}")
    elif isinstance(given, list) and isinstance(taken, (list, tuple)):
        if len(given) != len(taken):
            raise Silent(f"{where} has {len(taken)} entries, {len(given)} in the file")
        for at, (a, b) in enumerate(zip(given, taken, strict=True)):
            same_numbers(a, b, f"{where}.{at}")
    elif (
        isinstance(given, (int, float))
        and isinstance(taken, (int, float))
        and given != taken
        and not math.isclose(given, taken, rel_tol=1e-12)
    ):
        raise Silent(f"{where} is {taken}, {given} in the file")


def parsed(path: Path) -> dict[str, Any]:
    """The file as TOML, which it is known to be."""
    return tomllib.loads(path.read_text("utf-8"))
