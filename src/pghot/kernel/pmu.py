"""PMUs as `/sys/bus/event_source/devices` describes them (Documentation/ABI/testing/sysfs-bus-event_source-devices-*).

A PMU's `format` directory says which bits of perf_event_attr a term takes, its `events` directory gives terms for
named events, its `caps` directory says what the hardware can do. So no bits are assumed here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pghot.errors import UnsupportedError
from pghot.kernel.cpus import online_cpus, parse_list
from pghot.kernel.sysroot import SysRoot

DEVICES = "/sys/bus/event_source/devices"
_WORDS = ("config", "config1", "config2")


@dataclass(frozen=True, slots=True)
class Pmu:
    """One PMU.

    type     for perf_event_attr.type
    formats  term -> (word of perf_event_attr, its bits from the lowest up)
    events   name -> terms and their values
    caps     name -> what the file says
    cpus     the CPUs that it counts on, or, for a device outside the CPUs, the one to open its events on
    """

    name: str
    type: int
    formats: Mapping[str, tuple[str, tuple[int, ...]]]
    events: Mapping[str, Mapping[str, int]]
    caps: Mapping[str, str]
    cpus: tuple[int, ...]

    def config(self, terms: Mapping[str, int]) -> dict[str, int]:
        """Values of config, config1 and config2 for some terms.

        Raises `UnsupportedError` for a term that this PMU does not have, or a value too large for its bits.
        """
        words = dict.fromkeys(_WORDS, 0)
        for term, value in terms.items():
            if term not in self.formats:
                raise UnsupportedError(
                    f"{self.name} has no '{term}'", f"use one that it has: {', '.join(sorted(self.formats))}"
                )
            word, bits = self.formats[term]
            if value >> len(bits):
                raise UnsupportedError(
                    f"{self.name}: {term}={value} does not fit in {len(bits)} bits", "give a smaller value"
                )
            words[word] |= sum((value >> index & 1) << bit for index, bit in enumerate(bits))
        return words


def pmu_names(root: SysRoot, prefix: str) -> list[str]:
    """Names of the PMUs that begin with `prefix`."""
    return [name for name in root.list(DEVICES) if name.startswith(prefix)]


def read_pmu(root: SysRoot, name: str) -> Pmu | None:
    """A PMU, or None when there is no such one here."""
    base = f"{DEVICES}/{name}"
    number = root.read_or(f"{base}/type")
    if not number.isdigit():
        return None
    formats = {
        term: parse_format(root.read_or(f"{base}/format/{term}")) for term in root.list(f"{base}/format")
    }
    # Beside an event stand files such as mem-loads.unit.
    events = {
        event: parse_terms(root.read_or(f"{base}/events/{event}"))
        for event in root.list(f"{base}/events")
        if "." not in event
    }
    caps = {cap: root.read_or(f"{base}/caps/{cap}") for cap in root.list(f"{base}/caps")}
    return Pmu(name, int(number), {term: bits for term, bits in formats.items() if bits[1]}, events, caps,
               _cpus(root, base))  # fmt: skip


def _cpus(root: SysRoot, base: str) -> tuple[int, ...]:
    """`cpus` of hybrid core PMUs, `cpumask` of others; neither: every online CPU."""
    listed = root.read_or(f"{base}/cpus") or root.read_or(f"{base}/cpumask")
    online = online_cpus(root)
    return tuple(cpu for cpu in parse_list(listed) if cpu in online) if listed else tuple(online)


def parse_format(text: str) -> tuple[str, tuple[int, ...]]:
    """The word and the bits of a term; no bits for a word that pghot does not fill in.

    >>> parse_format("config:0-3,32")
    ('config', (0, 1, 2, 3, 32))
    """
    match = re.fullmatch(r"(\w+):([\d,-]+)", text.strip())
    if match is None or match[1] not in _WORDS:
        return "", ()
    return match[1], tuple(parse_list(match[2]))


def parse_terms(text: str) -> dict[str, int]:
    """The terms of an event; a term without a value is 1.

    >>> parse_terms("event=0xcd,umask=0x1,ldlat=3")
    {'event': 205, 'umask': 1, 'ldlat': 3}
    """
    terms = {}
    for part in text.strip().split(","):
        term, _, value = part.partition("=")
        if term and re.fullmatch(r"|\d+|0x[0-9a-fA-F]+", value):
            terms[term] = int(value, 0) if value else 1
    return terms
