"""A package of somebody else's, as an installed one: modules, and a dist-info directory that names classes."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest


def install(
    place: Path, monkeypatch: pytest.MonkeyPatch, entries: dict[str, dict[str, str]], **modules: str
) -> None:
    """Put the package `plugged` on sys.path.

    entries  for each group of entry points "MODULE:CLASS" by name
    modules  their sources
    """
    facts = place / "plugged-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
    lines = [
        line
        for group, named in entries.items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in named.items()))
    ]
    (facts / "entry_points.txt").write_text("\n".join(lines))
    for name, source in modules.items():
        (place / f"{name}.py").write_text(source)
        monkeypatch.delitem(importlib.sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(place))
    importlib.invalidate_caches()
