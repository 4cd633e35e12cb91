"""Classes by name: policies, sources and stores, those of pghot and those of other packages.

Each class declares what others need to know about it, as attributes. Ours are all classes with a `name` and a `summary`
in the modules of the registry's packages, so a new file is all it takes to add one. Classes of other packages are
named by entry points of the registry's group.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, Generic, TypeVar, cast

from pghot.errors import PghotError, unknown_name
from pghot.parameters import checked_options

T = TypeVar("T")


class Registry(Generic[T]):
    """Classes of one kind by name.

    kind      what messages call one of them, such as "policy"
    packages  dotted names of the packages whose modules hold our own classes
    group     the group of entry points in which other packages name theirs
    declares  attributes that each class must have
    given     how many arguments pghot itself passes to the constructor; the others are options
    order     key that sorts our own classes; without it they are sorted by name
    """

    def __init__(
        self,
        kind: str,
        packages: tuple[str, ...],
        group: str,
        *,
        declares: tuple[str, ...] = ("name", "summary"),
        given: int = 0,
        order: Callable[[type[T]], Any] | None = None,
    ) -> None:
        self.kind, self.packages, self.group = kind, packages, group
        self._declares, self._given, self._order = declares, given, order

    def names(self) -> list[str]:
        """Our own in their order, then those of other packages by name."""
        ours = self._ours()
        return [*ours, *(name for name in sorted(self._points()) if name not in ours)]

    def get(self, name: str) -> type[T]:
        """The class called `name`.

        Raises `UsageError` for an unknown name, with the nearest as a suggestion. Raises `PghotError` for a class of
        another package that cannot be used.
        """
        if (ours := self._ours().get(name)) is not None:
            return ours
        point = self._points().get(name)
        if point is None:
            raise unknown_name(self.kind, name, self.names())
        return self._load(point)

    def make(self, name: str, *given: Any, **options: Any) -> T:
        """A new object of the class called `name`.

        Raises what `get` and the constructor raise, and `UsageError` for an option that the class does not have or a
        value of the wrong kind.
        """
        checked = checked_options(name, options, self.options(name))
        return cast(Callable[..., T], self.get(name))(*given, **checked)

    def options(self, name: str) -> dict[str, Any]:
        """The options of a class with their defaults: the arguments of its constructor that pghot does not pass."""
        parameters = list(inspect.signature(self.get(name)).parameters.values())[self._given :]
        several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return {each.name: each.default for each in parameters if each.kind not in several}

    def summaries(self) -> dict[str, str]:
        """Every name with its one-line summary, or with the reason why the class cannot be used."""
        return {name: self._summary(name) for name in self.names()}

    def usable(self) -> dict[str, type[T]]:
        """The classes by name, except those that cannot be used."""
        found = {}
        for name in self.names():
            with contextlib.suppress(PghotError):
                found[name] = self.get(name)
        return found

    def _summary(self, name: str) -> str:
        try:
            return str(getattr(self.get(name), "summary", ""))
        except PghotError as error:
            return str(error)

    def _ours(self) -> dict[str, type[T]]:
        found: dict[str, type[Any]] = {
            each.name: each
            for package in self.packages
            for each in _named_classes(package, tuple(import_module(package).__path__))
        }
        by_name, order = sorted(found.items()), self._order
        return dict(by_name if order is None else sorted(by_name, key=lambda item: order(item[1])))

    def _points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in _entry_points(tuple(sys.path)).get(self.group, ())}

    def _load(self, point: EntryPoint) -> type[T]:
        package = point.dist.name if point.dist is not None else point.value
        try:
            loaded = point.load()
        except Exception as error:  # another package's module may raise anything when it is imported
            why = f"cannot be loaded: {type(error).__name__}: {error}"
        else:
            says = getattr(loaded, "name", "")
            missing = [each for each in self._declares if not hasattr(loaded, each)]
            if not inspect.isclass(loaded):
                why = "is not a class"
            elif missing:
                why = f"does not declare its {', '.join(missing)}"
            elif says != point.name:
                why = f"calls itself '{says}'"
            else:
                return cast(type[T], loaded)
        raise PghotError(
            f"the {self.kind} '{point.name}' of the package {package} {' '.join(why.split())}",
            f"report it to the authors of {package}, or uninstall it",
        )


@cache
def _entry_points(path: tuple[str, ...]) -> dict[str, EntryPoints]:
    """By group, those of all packages on `path`, which is `sys.path`.

    Looking for them opens a file of each package, and every start asks several times.
    """
    found = entry_points()
    return {group: found.select(group=group) for group in found.groups}


@cache
def _named_classes(package: str, path: tuple[str, ...]) -> list[type[Any]]:
    """The classes that a package's modules define and that declare a name of their own; a shared base class has none.

    path  the directories of the package, which are read once: a replay asks for each run
    """
    modules = [import_module(f"{package}.{info.name}") for info in iter_modules(path)]
    return [each for module in modules for each in vars(module).values() if _is_named_class(each, module)]


def _is_named_class(each: object, module: ModuleType) -> bool:
    if not inspect.isclass(each) or each.__module__ != module.__name__:
        return False
    return isinstance(vars(each).get("name"), str) and isinstance(getattr(each, "summary", None), str)
