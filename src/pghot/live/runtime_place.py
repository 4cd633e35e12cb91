"""The directory for what describes the running machine: journals, and the lock of the pghot that owns it.

Below /run, which is lost with the boot, like the state that it describes.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pghot.kernel.sysroot import SysRoot


def runtime_place(root: SysRoot) -> Path:
    """Of root /run/pghot, of other users a place of their own.

    All users share the temporary directory, so the name of a directory there includes the user.
    """
    if not root.live:
        return root.path("/run/pghot")
    place = Path("/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR", ""), "pghot")
    return place if place.is_absolute() else Path(tempfile.gettempdir(), f"pghot-{os.geteuid()}")
