"""The access rules of compressed memory: what a program may do with a page that is stored compressed.

A rule belongs to the memory, not to a policy. Its fields are all there is to know about it. The simulated node, the
calculator of the reserve and the adversary read them. To add a rule, add an instance to `RULES`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pghot.errors import unknown_name

Writes = Literal["in place", "granted", "promotes"]
Drains = Literal["never", "as it can", "in time"]


@dataclass(frozen=True, slots=True)
class AccessRule:
    """What programs may do, and what the host must do about it.

    name      as in `--access` and in the tiers file's `access`
    summary   one line: what a store to a page does
    writes    "in place": the store goes to the device without a check
              "granted": it faults before the line is dirty. If the device could still take the page at its worst,
              together with all that was granted before, the page becomes writable; else it is promoted
              "promotes": it faults, and the page is always promoted
    reads     False: a read faults as well and brings the page back
    budgets   each tenant has a share of the medium less the reserve. A tenant that would take more is killed
    drains    what the host does when the device warns. "in time": it moves pages away, and the reserve covers what
              tenants can spoil until that is done. "as it can": it moves pages away, but safety does not depend on it.
              "never": nothing
    refuses_last_resort
              True: a warning stops every demotion. False: it still lets a demotion through when a program waits for it
              that would be killed otherwise. The reserve stays free either way
    danger    what a reader of a result must be told, to follow "under this rule"; empty: nothing
    """

    name: str
    summary: str
    writes: Writes
    reads: bool = True
    budgets: bool = False
    drains: Drains = "never"
    refuses_last_resort: bool = False
    danger: str = ""

    @property
    def read_only(self) -> bool:
        """Pages are mapped read-only until the host lets a write through; and it moves a page before it is pinned."""
        return self.writes != "in place"

    @property
    def warning(self) -> str:
        """`danger` as a clause that names the rule; empty if there is none."""
        return f"under '{self.name}' {self.danger}" if self.danger else ""


# What the vendors of such devices ask for. The argument in docs/FACTS.md section 6 is against it: when lines are
# written back, it is too late to refuse them. The host can only react to the warning.
WRITABLE = AccessRule(
    "writable",
    "a store goes to the device; at a warning the host moves pages away",
    writes="in place",
    drains="in time",
    refuses_last_resort=True,
    danger=(
        "a hostile program may destroy anyone's data: `pghot margin` says which reserve, if any, prevents that"
    ),
)

# Section 6, the first safe design with its margin check: the write faults, and is let through or the page is copied.
RO_COW = AccessRule(
    "ro-cow",
    "a store faults; the page becomes writable if all of its growth fits, else it is promoted",
    writes="granted",
)

# Section 6, the first safe design without a check, and the private-node RFC of February 2026.
PROMOTE_ON_WRITE = AccessRule(
    "promote-on-write",
    "a store faults, and the page is promoted",
    writes="promotes",
)

# Section 6, the second safe design: the memory is for programs that may be killed.
CONTAINED = AccessRule(
    "contained",
    "a store goes to the device; a tenant over its budget is killed",
    writes="in place",
    budgets=True,
    drains="as it can",
)

# zram and zswap (mm/zswap.c): no page can be accessed where it is stored. Only the kernel writes there, and it knows
# each size before it stores. So the rule needs no reserve, and there is no device to break.
SWAP = AccessRule(
    "swap",
    "any access faults and brings the page back, as from zram or zswap",
    writes="promotes",
    reads=False,
)

RULES: dict[str, AccessRule] = {
    rule.name: rule for rule in (WRITABLE, RO_COW, PROMOTE_ON_WRITE, CONTAINED, SWAP)
}


def device_rules() -> list[AccessRule]:
    """The rules under which programs reach the device: those that need a reserve, or a proof that none is needed."""
    return [rule for rule in RULES.values() if rule.reads]


def rule_named(name: str) -> AccessRule:
    """The rule called `name`. Raises `UsageError` for an unknown name, with the nearest as a suggestion."""
    if name not in RULES:
        raise unknown_name("access rule", name, list(RULES))
    return RULES[name]


def warnings_of(rules: Iterable[AccessRule]) -> list[str]:
    """What readers of a result under these rules must be told, each warning once."""
    return list(dict.fromkeys(rule.warning for rule in rules if rule.danger))
