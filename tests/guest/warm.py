"""Import and compile what `pghot run` needs: out here, where it is fast, for the guest, and inside before the tests.

Run with NUMBA_CPU_NAME=generic, which is what the guest's CPU can do too.
"""

from __future__ import annotations

import contextlib
import os
from importlib import import_module
from pkgutil import walk_packages

import pghot
from pghot.cli.main import run
from pghot.live.first_use import compile_kernels

ROOMS = ("kernel", "live", "daemon")


def main() -> None:
    """All modules that commands of the live side import, the engine, the machine and the policies on pages of this very
    process, and a command that ends early."""
    modules()
    compile_kernels()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        # There is no process 0; a kernel without hint faults says that first.
        assert run(["run", "--apply", "-p", "0"]) in (2, 3)


def modules() -> None:
    """Each command that is forked from here would otherwise read what it imports late over 9p."""
    for each in walk_packages(pghot.__path__, "pghot."):
        if each.name.split(".")[1] in ROOMS:
            import_module(each.name)


if __name__ == "__main__":
    main()
