"""Cgroups by patterns such as "system.slice/*.service". A `*` stays within one part of the path, as in a shell."""

from __future__ import annotations

from fnmatch import fnmatchcase

from pghot.kernel.cgroup import cgroup_name, cgroup_path
from pghot.kernel.sysroot import SysRoot


def is_pattern(path: str) -> bool:
    """Whether it names cgroups by a pattern, not one by its path.

    >>> is_pattern("a/*.service"), is_pattern("a/b.service")
    (True, False)
    """
    return any(sign in path for sign in "*?[")


def cgroups_like(root: SysRoot, pattern: str) -> list[str]:
    """Names ("/a/b") of the cgroups that there are now and that fit; a path fits itself."""
    found = [""]
    for part in cgroup_name(pattern).strip("/").split("/"):
        found = [f"{above}/{entry}" for above in found for entry in _below(root, above, part)]
    return found


def _below(root: SysRoot, above: str, part: str) -> list[str]:
    names = root.list(cgroup_path(above)) if is_pattern(part) else [part]
    return [
        name
        for name in names
        if fnmatchcase(name, part) and root.path(f"{cgroup_path(above)}/{name}").is_dir()
    ]
