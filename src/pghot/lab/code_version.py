"""Which code and data a simulated figure comes from: what was computed by other code may say something else."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

# Rooms that a simulation does not enter.
OTHER_ROOMS = ("api", "cli", "daemon", "kernel", "live", "recorder", "report", "safety")


@cache
def code_version() -> str:
    """12 hex digits that stand for the package's code and data, without the rooms that a simulation does not enter."""
    digest, package = hashlib.sha256(), Path(__file__).parents[1]
    for path in sorted(package.rglob("*")):
        if (
            path.suffix in (".py", ".toml", ".pghot")
            and path.relative_to(package).parts[0] not in OTHER_ROOMS
        ):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
