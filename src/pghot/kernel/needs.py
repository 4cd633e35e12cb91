"""What a source or mover needs of this machine, checked before it starts and listed by `pghot doctor`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pghot.errors import NotPermittedError, UnsupportedError
from pghot.kernel.sysroot import SysRoot

Verdict = Literal["yes", "unsupported", "not permitted"]


@dataclass(frozen=True, slots=True)
class Need:
    """One condition and whether it holds here.

    what    what is needed, e.g. "hint faults: /proc/sys/kernel/numa_balancing"
    why     why it does not hold; empty when it does
    remedy  the exact command or setting that helps; empty when nothing does
    """

    what: str
    verdict: Verdict = "yes"
    why: str = ""
    remedy: str = ""

    @property
    def met(self) -> bool:
        return self.verdict == "yes"


def knob_need(root: SysRoot, what: str, path: str, lacking: str, rights: str = "run as root") -> Need:
    """Whether a file of the kernel's exists and this user may write it.

    lacking  what a kernel without it lacks
    rights   what lets a user write it
    """
    if not root.exists(path):
        return Need(what, "unsupported", f"no {path}", lacking)
    if not root.writable(path):
        return Need(what, "not permitted", f"not permitted to write {path}", rights)
    return Need(what)


def require(name: str, needs: Iterable[Need]) -> None:
    """Raise for the first need of `name` that is not met.

    `UnsupportedError` (exit 3) comes before `NotPermittedError` (exit 4): more rights would not help.
    """
    unmet = [need for need in needs if not need.met]
    for need in sorted(unmet, key=lambda need: need.verdict != "unsupported"):
        kind = UnsupportedError if need.verdict == "unsupported" else NotPermittedError
        raise kind(f"{name}: {need.why}", need.remedy)
