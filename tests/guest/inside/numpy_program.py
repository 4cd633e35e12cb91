"""Python with NumPy as a target: a large array on a node of which a part is hot, as tests/guest/program.c has it.

python numpy_program.py MIB HOT_SHARE NODE [progress=FILE]

NumPy asks for huge pages by itself. Hot elements are gathered in random order.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

RUN = 512
SET_MEMPOLICY = 238  # x86_64
MPOL_DEFAULT, MPOL_BIND = 0, 2


def set_mempolicy(mode: int, nodes: int) -> None:
    mask = ctypes.c_ulong(nodes)
    if ctypes.CDLL(None, use_errno=True).syscall(SET_MEMPOLICY, mode, ctypes.byref(mask), 64):
        raise OSError(ctypes.get_errno(), "set_mempolicy")


def main(mib: int, every: int, node: int, progress: Path) -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    set_mempolicy(MPOL_BIND, 1 << node)
    array = np.ones((mib + 2 << 20) // 8)
    set_mempolicy(MPOL_DEFAULT, 0)
    skip = -array.ctypes.data % (2 << 20)
    used = array[skip // 8 :][: (mib << 20) // 8]
    facts = {"pid": os.getpid(), "start": used.ctypes.data, "pages": mib << 8, "run": RUN, "every": every}
    print(json.dumps(facts), flush=True)
    block, rng, passes = RUN * 4096 // 8, np.random.default_rng(1), 0
    hot = np.arange(0, len(used) // block, every)
    while True:
        chosen = rng.choice(hot, 20_000) * block + rng.integers(0, block, 20_000)
        used[chosen] += 1
        passes += 1
        new = progress.with_suffix(".new")
        new.write_text(f"{passes} {time.monotonic():.3f}\n")
        new.rename(progress)
        time.sleep(0.05)


if __name__ == "__main__":
    main(
        int(sys.argv[1]), round(1 / float(sys.argv[2])), int(sys.argv[3]), Path(sys.argv[4].partition("=")[2])
    )
