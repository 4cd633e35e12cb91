"""A small DAMON in a tree of sysfs: directories come with the numbers that are written, as in mm/damon/sysfs*.c, and
every write is noted."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from pghot.kernel.damon_sysfs import KDAMONDS
from pghot.kernel.sysroot import SysRoot

_FILTER = ("type", "matching", "memcg_path")
_GOAL = ("target_metric", "target_value", "current_value", "nid")
_STATS = ("nr_tried", "sz_tried", "nr_applied", "sz_applied", "qt_exceeds")


class FakeDamon:
    """As Linux 6.12 has it, or with `new` as 7.3.

    writes   (path below kdamonds, text) of every write that came through `SysRoot`, in order
    in_force  quotas are, when asked for
    refuses  a commit or start fails with EINVAL while it is set, as for a program that ended
    """

    def __init__(self, tree: Path, monkeypatch: pytest.MonkeyPatch, new: bool = False) -> None:
        self.place, self.new = tree / KDAMONDS.lstrip("/"), new
        self.writes: list[tuple[str, str]] = []
        self.refuses, self.in_force = False, True
        self._put("nr_kdamonds", "0")
        self._write = SysRoot.write
        monkeypatch.setattr(SysRoot, "write", lambda root, name, text: self.write(root, name, text))

    def write(self, root: SysRoot, name: str, text: str) -> None:
        if not name.startswith(KDAMONDS):
            return self._write(root, name, text)
        path = name.removeprefix(f"{KDAMONDS}/")
        self.writes.append((path, text))
        file = path.rpartition("/")[2]
        if file == "state":
            return self._order(path, text)
        if not (self.place / path).exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        self._put(path, text)
        if file.startswith("nr_") and text.isdigit() and "access_pattern" not in path:
            self._children(path, file, int(text))
        return None

    def _order(self, path: str, text: str) -> None:
        if text in ("on", "commit") and self.refuses:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if text in ("on", "off"):
            self._put(path, text)
        if text == "update_schemes_effective_quotas" and self.in_force:
            for quotas in (self.place / path).parent.glob("contexts/0/schemes/*/quotas"):
                (quotas / "effective_bytes").write_text((quotas / "bytes").read_text())

    def _children(self, path: str, file: str, count: int) -> None:
        parent = path.rpartition("/")[0]
        prefix = f"{parent}/" if parent else ""
        for old in (self.place / parent).iterdir():
            if old.is_dir() and old.name.isdigit():
                shutil.rmtree(old)
        for number in range(count):
            self._make(f"{prefix}{number}", file)

    def _make(self, own: str, file: str) -> None:
        new, files = self.new, list[str]()
        if file == "nr_kdamonds":
            self._put(f"{own}/state", "off")
            files = ["pid", "contexts/nr_contexts"]
        elif file == "nr_contexts":
            self._put(f"{own}/avail_operations", "vaddr\nfvaddr\npaddr\n")
            times = [f"intervals/{name}_us" for name in ("sample", "aggr", "update")]
            files = [f"monitoring_attrs/{name}" for name in (*times, "nr_regions/min", "nr_regions/max")]
            files += ["operations", "targets/nr_targets", "schemes/nr_schemes"]
        elif file == "nr_targets":
            files = ["pid_target", "regions/nr_regions"]
        elif file == "nr_regions":
            files = ["start", "end"]
        elif file == "nr_schemes":
            files = ["action", "target_nid", "filters/nr_filters", "quotas/goals/nr_goals"]
            files += [f"access_pattern/{a}/{b}" for a in ("sz", "nr_accesses", "age") for b in ("min", "max")]
            files += [f"quotas/{name}" for name in ("ms", "bytes", "reset_interval_ms")]
            files += (
                [
                    "ops_filters/nr_filters",
                    "quotas/goal_tuner",
                    *(f"quotas/fail_charge_{each}" for each in ("num", "denom")),
                ]
                if new
                else []
            )
            self._put(f"{own}/quotas/effective_bytes", "0")
            for name in _STATS:
                self._put(f"{own}/stats/{name}", "0")
        elif file == "nr_filters":
            files = [*_FILTER, *(("allow",) if new else ())]
        elif file == "nr_goals":
            files = list(_GOAL)
        for name in files:
            self._put(f"{own}/{name}", "")

    def _put(self, path: str, text: str) -> None:
        file = self.place / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    # ---- for tests

    def read(self, path: str) -> str:
        return (self.place / path).read_text().strip()

    def count(self, kdamond: int, scheme: int, **stats: int) -> None:
        """What the kernel counted of a scheme so far."""
        for name, value in stats.items():
            self._put(f"{kdamond}/contexts/0/schemes/{scheme}/stats/{name}", str(value))

    def take(self) -> list[tuple[str, str]]:
        """The writes since the last call."""
        taken, self.writes = self.writes, []
        return taken
