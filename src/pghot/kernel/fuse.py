"""File systems that a user's program serves (FUSE): who owns a file there is what that program says."""

from __future__ import annotations

import os
import re

from pghot.kernel.sysroot import SysRoot


def served_by(root: SysRoot, device: int) -> int | None:
    """The user who serves the file system on a device (`st_dev`); None when the kernel does.

    `user_id` among its options is who mounted it (fuse_show_options, fs/fuse/inode.c).
    """
    where = re.escape(f"{os.major(device)}:{os.minor(device)}")
    line = rf"^\d+ \d+ {where} .* - fuse\S* .*\buser_id=(\d+)"
    found = re.search(line, root.read_or("/proc/self/mountinfo"), re.MULTILINE)
    return int(found[1]) if found else None
