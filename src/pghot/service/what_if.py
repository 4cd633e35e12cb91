"""`pghot run --what-if`: a machine without a slow tier records with what it has, and the lab simulates the tiers."""

from __future__ import annotations

from pghot.errors import UnsupportedError
from pghot.kernel.sysroot import SysRoot
from pghot.sources.live_registry import make_live_source

# Best first: these see every tier and reads as well as writes; soft-dirty bits see writes only.
_CHOICES = ("ibs", "pebs", "spe", "idle", "damon", "softdirty")
_POLICIES = ("none", "all-fast", "pghot-default", "pghot-precise", "numab2", "oracle-static")
NOTE = "what-if: accesses as {source} saw them here, tiers and moves simulated; nothing was moved"


def policies_beside(policy: str) -> str:
    """The policies to simulate, by comma: the chosen one beside bounds, baselines and the kernel's own.

    >>> policies_beside("hemem")
    'none,all-fast,pghot-default,pghot-precise,numab2,oracle-static,hemem'
    """
    return ",".join(dict.fromkeys((*_POLICIES, policy)))


def choose_source(command: bool, root: SysRoot | None = None) -> str:
    """The best source of this machine: a live one, else the emulator when there is a command to start in it.

    Raises `UnsupportedError` when nothing can see the accesses of running programs here.
    """
    root = root or SysRoot()
    for name in _CHOICES:
        if all(need.met for need in make_live_source(name, root).needs()):
            return name
    if command:
        return "qemu"
    raise UnsupportedError(
        "no live source works here", "see `pghot doctor`; a command that pghot starts can be emulated: -- CMD"
    )
