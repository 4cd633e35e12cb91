"""How much of a compressed device must stay free so that no tenant can make it lose data, for each access rule.

Every figure is a sum of named terms, each with its formula and its reason. docs/compressed-tier.md has the derivation.
`pghot.safety.adversary` tries to break the result. Sizes are in bytes, rates in 10**9 bytes/s.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pghot.errors import UsageError
from pghot.rules import AccessRule, device_rules
from pghot.sim.compressed.device import CompressedDevice
from pghot.units import PAGE_BYTES, format_number, format_size

Ask = Literal["page", "batch"]
Charge = Literal["page", "growth", "line"]
LEAST_GB_S = 1e-6  # 1 kB/s: at lower rates the times would overflow


@dataclass(frozen=True, slots=True)
class Host:
    """The computer in front of the device, and how its kernel enforces the rules.

    llc             bytes of last-level cache: all of it may be dirty lines of the device
    write_gb_s      rate at which all tenants together can write to the device, 10**9 bytes/s
    promotion_gb_s  rate at which the host can move pages away while tenants write
    batch_pages     pages that one demotion moves together
    grants          rules that grant pages: how many may be writable at a time. To grant one more, the host makes the
                    oldest read-only again
    pinned          bytes of pages that tenants may pin (RLIMIT_MEMLOCK, VFIO), all tenants together
    kill_us         rules with budgets: time from the decision to kill a tenant to its last store, and to zero its pages
    protect_us      rules that drain in time: time from a warning until all pages of the node are read-only; None: the
                    host only moves pages away
    flush           the host writes back a page's cache lines before it drops the charge for the page
    ask             whether each page of a demotion asks the control plane, or only the first of its batch
    charge          rules that grant pages: what is reserved for a page before it may be written. A whole "page"; its
                    possible "growth" from now on (unsafe: it may shrink first and then grow back); one "line" (unsafe:
                    more lines may follow)
    pin_promotes    read-only rules: a page leaves the device before it is pinned
    """

    llc: int = 256 << 20
    write_gb_s: float = 26.0
    promotion_gb_s: float = 2.0
    batch_pages: int = 512
    grants: int = 1024
    pinned: int = 0
    kill_us: float = 10_000.0
    protect_us: float | None = None
    flush: bool = True
    ask: Ask = "page"
    charge: Charge = "page"
    pin_promotes: bool = True

    def __post_init__(self) -> None:
        checks = [
            (self.llc > 0, f"a last-level cache of {self.llc} B"),
            (self.write_gb_s >= LEAST_GB_S, f"a write rate of {format_number(self.write_gb_s)} GB/s"),
            (
                self.promotion_gb_s == 0 or self.promotion_gb_s >= LEAST_GB_S,
                f"a promotion rate of {format_number(self.promotion_gb_s)} GB/s",
            ),
            (self.batch_pages > 0, f"a batch of {self.batch_pages} pages"),
            (self.grants > 0, f"{self.grants} writable pages at a time"),
            (self.kill_us >= 0, f"a kill time of {format_number(self.kill_us)} us"),
            (self.protect_us is None or self.protect_us >= 0, f"a protection time of {self.protect_us} us"),
        ]
        for ok, what in checks:
            if not ok:
                raise UsageError(f"{what} is out of range", "give a positive number, rates from 1 kB/s")


# What a host may leave out to save work: the command line's names, and the fields of `Host` that they set.
SHORTCUTS: dict[str, dict[str, Any]] = {
    "no-flush": {"flush": False},
    "ask-batch": {"ask": "batch"},
    "charge-growth": {"charge": "growth"},
    "charge-line": {"charge": "line"},
    "pin-in-place": {"pin_promotes": False},
}


@dataclass(frozen=True, slots=True)
class Term:
    """One reason to keep memory free, in bytes; infinite if no amount is enough."""

    name: str
    bytes: float
    formula: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "bytes": _finite(self.bytes)}


@dataclass(frozen=True, slots=True)
class RuleMargin:
    """The reserve of one access rule: the sum of its terms, or infinite if that is more than the medium has.

    reason  why no reserve is enough; empty if one is
    """

    rule: AccessRule
    reserve_bytes: float
    terms: tuple[Term, ...]
    notes: tuple[str, ...]
    reason: str = ""

    @property
    def fits(self) -> bool:
        return not self.reason

    def to_dict(self) -> dict[str, Any]:
        return {
            "reserve_bytes": _finite(self.reserve_bytes),
            "fits": self.fits,
            "reason": self.reason or None,
            "terms": [term.to_dict() for term in self.terms],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Margins:
    """The rules of one device behind one host, by name. `cache_bytes` is how much the cache alone can make it grow."""

    device: CompressedDevice
    host: Host
    real: int
    promised: int
    line_growth_bytes: int
    cache_bytes: int
    rules: dict[str, RuleMargin]

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "pghot.margin/1",
            "device": self.device.model_dump(),
            "host": asdict(self.host),
            "real_bytes": self.real,
            "promised_bytes": self.promised,
            "line_growth_bytes": self.line_growth_bytes,
            "cache_bytes": self.cache_bytes,
            "rules": {rule: found.to_dict() for rule, found in self.rules.items()},
        }


def _finite(value: float) -> int | None:
    """Whole bytes for JSON, which has no infinity."""
    return None if math.isinf(value) else math.ceil(value)


def margins(device: CompressedDevice, host: Host, real: int, promised: int) -> Margins:
    """The reserve of each access rule for `promised` bytes of pages on `real` bytes of medium.

    >>> ocp = CompressedDevice(spoil="block")
    >>> margins(ocp, Host(llc=256 << 20), 512 << 30, 1 << 40).cache_bytes >> 30
    16
    """
    if real < PAGE_BYTES:
        raise UsageError(
            f"a medium of {real} B holds no page", f"give --real of {format_size(PAGE_BYTES)} or more"
        )
    if host.llc < device.line:
        raise UsageError(
            f"a last-level cache of {host.llc} B holds no line of {device.line} B", "give a larger --llc"
        )
    if promised < real:
        raise UsageError(
            f"the device promises {promised} B, less than the {real} B it has",
            "give --promised no smaller than --real",
        )
    calculator = _Calculator(device, host, real, promised)
    return Margins(
        device,
        host,
        real,
        promised,
        line_growth_bytes=device.line_growth_bytes,
        cache_bytes=calculator.cache_bytes,
        rules={rule.name: calculator.rule(rule) for rule in device_rules()},
    )


class _Calculator:
    def __init__(self, device: CompressedDevice, host: Host, real: int, promised: int) -> None:
        self.device, self.host, self.real, self.promised = device, host, real, promised
        self.over = promised - real
        self.page_growth = PAGE_BYTES - device.blocks_per_page * device.smallest_bytes
        self.line_s = device.line / (host.write_gb_s * 1e9)
        possible = promised // PAGE_BYTES * self.page_growth
        self.cache_bytes = min(host.llc // device.line * device.line_growth_bytes, possible)

    def rule(self, rule: AccessRule) -> RuleMargin:
        if self.over == 0:
            note = "the device promises no more than it has, so it cannot run out"
            return RuleMargin(rule, 0, (), (note,))
        terms, notes = self.terms(rule)
        reserve = sum(term.bytes for term in terms)
        if reserve < self.real:
            return RuleMargin(rule, reserve, tuple(terms), tuple(notes))
        return RuleMargin(rule, math.inf, tuple(terms), tuple(notes), self.reason(terms))

    def terms(self, rule: AccessRule) -> tuple[list[Term], list[str]]:
        """Terms and notes of a rule. They follow from what it lets tenants write, and from what stops them."""
        if rule.writes == "promotes":
            return self.promoted()
        if rule.writes == "granted":
            return self.granted()
        if rule.budgets:
            return self.killed()
        if rule.drains == "in time":
            return self.drained()
        return [Term("unstopped", math.inf, "no bound", "nothing stops tenants that write")], []

    def spoiled(self, seconds: float, extra_lines: int = 1) -> int:
        """How much the bytes in use grow while tenants write for `seconds`, with each line at its worst."""
        return (math.ceil(seconds / self.line_s) + extra_lines) * self.device.line_growth_bytes

    def drained(self) -> tuple[list[Term], list[str]]:
        """The host moves pages away. If it can protect them as well, the cheaper of the two ways counts."""
        moved = self.moved_away()
        if self.host.protect_us is None:
            return moved
        protected = self.protected(self.host.protect_us)
        return min(protected, moved, key=lambda way: sum(term.bytes for term in way[0]))

    def moved_away(self) -> tuple[list[Term], list[str]]:
        terms = [self.in_flight(), self.reaction("interrupt", self.device.interrupt_us * 1e-6), self.drain()]
        if self.host.pinned > self.real:
            terms.append(
                Term(
                    "pinned",
                    math.inf,
                    "pinned > real",
                    "more pages may be pinned than the medium holds when none of them compresses",
                )
            )
        return terms, [f"the host needs {format_size(self.over)} of free memory to move the pages to"]

    def protected(self, protect_us: float) -> tuple[list[Term], list[str]]:
        seconds = (self.device.interrupt_us + protect_us) * 1e-6
        terms = [
            self.in_flight(),
            self.reaction("interrupt and protection", seconds),
            self.cache("lines that are dirty when the pages become read-only are still written back"),
        ]
        if self.host.pinned:
            terms.append(self.pins("zero-copy devices write to pinned pages, whatever the page tables say"))
        return terms, []

    def granted(self) -> tuple[list[Term], list[str]]:
        terms = [
            Term(
                "check",
                0,
                "0",
                "a page is charged in full from before it may be written until it is read-only, flushed and reported",
            )
        ]
        if self.host.charge != "page":
            covered = self.device.line_growth_bytes if self.host.charge == "line" else 0
            size = self.host.grants * (self.page_growth - covered)
            why = {
                "growth": "a writable page may shrink, be reported small, and grow back uncharged",
                "line": "a page that was charged one line has more lines to write",
            }[self.host.charge]
            terms.append(Term("undercharge", size, "grants x (page growth - charge)", why))
            if self.host.charge == "line" and size:
                terms.append(self.unreported())
        notes = [f"every GiB free above the reserve lets {2**30 // PAGE_BYTES} pages be writable at a time"]
        return [*terms, *self.read_only()], notes

    def promoted(self) -> tuple[list[Term], list[str]]:
        check = Term(
            "check", 0, "0", "only demotions make lines of the device dirty, and they are charged in full"
        )
        return [check, *self.read_only()], []

    def read_only(self) -> list[Term]:
        """What the host's shortcuts cost under the rules that map pages read-only."""
        terms = []
        if self.host.ask == "batch":
            size = (self.host.batch_pages - 1) * PAGE_BYTES
            terms.append(
                Term(
                    "batch",
                    size,
                    "(batch - 1) x page",
                    "only the first page of a batch asks; the others follow unchecked",
                )
            )
        if not self.host.flush:
            terms.append(
                self.cache("without a flush the host forgets lines that are still dirty in the cache")
            )
        if not self.host.pin_promotes and self.host.pinned:
            terms.append(self.pins("zero-copy devices write to pinned pages, whatever the page tables say"))
        return terms

    def killed(self) -> tuple[list[Term], list[str]]:
        seconds = (self.device.report_us + self.device.interrupt_us + self.host.kill_us) * 1e-6
        terms = [
            self.in_flight(),
            self.reaction("report, interrupt and kill", seconds, extra_lines=3),
            self.cache(
                "lines that are dirty at a tenant's last store are written back before its pages are zeroed"
            ),
        ]
        return terms, ["the budgets of all tenants add up to real minus reserve"]

    def in_flight(self) -> Term:
        return Term(
            "in flight",
            self.host.batch_pages * PAGE_BYTES,
            "batch x page",
            "a demotion admitted before the threshold was crossed still arrives, at its raw size",
        )

    def reaction(self, what: str, seconds: float, extra_lines: int = 1) -> Term:
        return Term(
            "reaction",
            self.spoiled(seconds, extra_lines),
            "write rate / line x line growth x time",
            f"growth during {what}: {format_number(seconds * 1e6)} us",
        )

    def drain(self) -> Term:
        """Growth until the host has moved away what was promised beyond the medium (see docs/compressed-tier.md)."""
        formula = "(promised - real) / promotion rate x write rate / line x line growth"
        reason = "growth until as many pages as were overcommitted have been moved away; then all the rest fits raw"
        if self.device.line_growth_bytes == 0:
            return Term("drain", 0, formula, "no block of this device can grow")
        if self.host.promotion_gb_s == 0:
            return Term("drain", math.inf, formula, reason)
        pages = math.ceil(self.over / PAGE_BYTES)
        seconds = pages * PAGE_BYTES / (self.host.promotion_gb_s * 1e9)
        return Term("drain", self.spoiled(seconds, 0), formula, f"{reason}: {format_number(seconds, 3)} s")

    def unreported(self) -> Term:
        """Growth of pages that had the same grant one after the other. Each was charged one line."""
        return Term(
            "unreported",
            self.spoiled(self.device.report_us * 1e-6),
            "write rate / line x line growth x report age",
            "pages that had a grant before and grew are not in a report yet",
        )

    def cache(self, reason: str) -> Term:
        return Term("cache", self.cache_bytes, "llc / line x line growth", reason)

    def pins(self, reason: str) -> Term:
        size = min(self.host.pinned, self.promised) // PAGE_BYTES * self.page_growth
        return Term("pinned", size, "pinned pages x page growth", reason)

    def reason(self, terms: list[Term]) -> str:
        """Why no reserve is enough, and how much could be promised instead."""
        largest = max(terms, key=lambda term: term.bytes)
        if largest.name in ("pinned", "unstopped"):
            return largest.reason
        if largest.name != "drain":
            return (
                f"pages can grow by more than the medium's {format_size(self.real)} before the host notices"
            )
        rest = self.real - sum(term.bytes for term in terms if term.name != "drain")
        ratio = self.host.write_gb_s * self.device.line_growth_bytes / self.device.line
        over = max(0.0, rest) * self.host.promotion_gb_s / ratio
        return (
            f"tenants spoil {ratio:,.0f} GB/s, promotion drains {format_number(self.host.promotion_gb_s)} GB/s; "
            f"even with the whole medium in reserve at most {over / self.real:.2%} more than real could be promised"
        )
