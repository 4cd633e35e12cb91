"""Things by name: policies, sources and stores, those of pghot and those of other packages.

Whatever has a name says of itself what others need to know: a class with a `name` and a `summary`. One of ours is any
such class of a module of the registry's packages, so that adding one is adding a file. One of another package is named
by an entry point of the registry's group.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any, Generic, TypeVar

from pghot.errors import PghotError, unknown_name

T = TypeVar("T")


class Registry(Generic[T]):
    """Classes of one kind by name.

    kind      what one is called in messages: "policy"
    packages  dotted names of the packages whose modules hold ours
    group     the group of entry points in which other packages name theirs
    """

    def __init__(self, kind: str, packages: tuple[str, ...], group: str) -> None:
        self.kind, self.packages, self.group = kind, packages, group

    def names(self) -> list[str]:
        """Ours in the order of their files, then those of other packages by name."""
        return [*self._ours(), *(name for name in sorted(self._points()) if name not in self._ours())]

    def get(self, name: str) -> type[T]:
        """The class called `name`.

        Raises `UsageError` for an unknown name, suggesting the nearest, and `PghotError` for a class of another
        package that cannot be loaded.
        """
        found: type[T] | None = _in_file_of(name, self.packages) or self._ours().get(name)
        if found is not None:
            return found
        point = self._points().get(name)
        if point is None:
            raise unknown_name(self.kind, name, self.names())
        try:
            loaded: type[T] = point.load()
        except Exception as error:  # whatever a module of somebody else raises when it is imported
            package = point.dist.name if point.dist is not None else point.value
            raise PghotError(
                f"the {self.kind} '{name}' of the package {package} cannot be loaded: {error}",
                f"mend or uninstall {package}",
            ) from error
        return loaded

    def summaries(self) -> dict[str, str]:
        """Every name with its one line of explanation."""
        return {name: self._summary(name) for name in self.names()}

    def options(self, name: str, given: int = 0) -> dict[str, Any]:
        """The options of a class with their defaults: the parameters of its constructor after the first `given`."""
        parameters = list(inspect.signature(self.get(name)).parameters.values())[given:]
        return {parameter.name: parameter.default for parameter in parameters}

    def _summary(self, name: str) -> str:
        try:
            return str(getattr(self.get(name), "summary", ""))
        except PghotError as error:
            return str(error)

    def _ours(self) -> Mapping[str, type[Any]]:
        return _classes(self.packages)

    def _points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}


def _in_file_of(name: str, packages: tuple[str, ...]) -> type[Any] | None:
    """The class, when a file has its name: no other file is imported then."""
    for package in packages:
        module = f"{package}.{name.replace('-', '_')}"
        if name.replace("-", "_").isidentifier() and find_spec(module) is not None:
            for found in _named_classes(module):
                if found.name == name:
                    return found
    return None


@cache
def _classes(packages: tuple[str, ...]) -> dict[str, type[Any]]:
    found: dict[str, type[Any]] = {}
    for package in packages:
        for module in sorted(info.name for info in iter_modules(import_module(package).__path__)):
            found |= {each.name: each for each in _named_classes(f"{package}.{module}")}
    return found


def _named_classes(module: str) -> Iterator[type[Any]]:
    """The classes that a module defines and that say their name and summary."""
    for each in vars(import_module(module)).values():
        if not inspect.isclass(each) or each.__module__ != module:
            continue
        if isinstance(getattr(each, "name", None), str) and isinstance(getattr(each, "summary", None), str):
            yield each
