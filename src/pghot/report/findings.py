"""`pghot doctor` as text for 80 columns: a pure function of its JSON facts."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from pghot.printable import elided, printable
from pghot.report.facts import Facts
from pghot.units import format_number, format_size

WIDTH = 80
_INDENT = " " * 6
_COLOURS = {"yes": 32, "not permitted": 33, "unsupported": 31}  # ANSI; best first

_TIERS_FROM = {
    "memory_tiering": "as the kernel has them",
    "attributes": "formed from latency and bandwidth",
    "named": "as the options name them",
    "CPUs": "nodes without CPUs below those with",
}
_BALANCING = {
    0: "off",
    1: "1: the kernel moves pages to the accessing CPU's node",
    2: "2: the kernel promotes hot pages by itself",
    3: "3: the kernel moves pages to the accessing CPU and promotes",
}


def render_doctor(facts: Facts, colour: bool = False) -> str:
    """Kernel and tiers, what the kernel does by itself, then sources and movers, and what it comes to."""
    lines = [*_head(facts), *_nodes(facts), *_kernel_tiering(facts["kernel_tiering"])]
    for note in facts["notes"]:
        lines += _wrap(f"note: {note}", "", "  ")
    lines += _section("sources: who sees accesses", facts["sources"], colour)
    lines += _section("movers: who moves pages", facts["movers"], colour)
    lines += ["", *_wrap(facts["conclusion"], "", "  ")]
    return "\n".join(lines)


def _head(facts: Facts) -> Iterator[str]:
    kernel = facts["kernel"] or "of unknown release"
    where = f"captured tree {facts['captured_tree']}, " if facts["captured_tree"] else ""
    config = facts["kernel_config"] or "cannot be read, so no option is looked up"
    yield from _wrap(f"{where}Linux {kernel}, configuration: {config}", "", "  ")
    memory = [node for node in facts["nodes"] if node["tier"] is not None]
    if memory:
        tiers = len({node["tier"] for node in memory})
        yield (
            f"{_number(len(memory), 'memory node')} in {_number(tiers, 'tier')}, "
            f"{_TIERS_FROM[facts['tiers_from']]}"
        )


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _nodes(facts: Facts) -> Iterator[str]:
    """A table of nodes, fastest tier first; latency and bandwidth only where some node has them."""
    nodes: Sequence[Facts] = sorted(
        facts["nodes"], key=lambda node: (node["tier"] is None, node["tier"], node["node"])
    )
    if not nodes:
        return
    timed = any(node["access"] for node in nodes)
    numbers = [str(node["node"]) for node in sorted(nodes, key=lambda node: node["node"])]
    yield ""
    head = f"{'tier':>4} {'node':>4} {'CPUs':<9} {'size':>10} {'free':>10}"
    yield f"{head} {'ns r/w':>9} {'GB/s r/w':>9}" * timed + head * (not timed) + "  demotes to"
    for node in nodes:
        yield _node(node, timed)
    if len(numbers) > 1:
        yield from _distances(nodes, numbers)


def _node(node: Facts, timed: bool) -> str:
    tier = "-" if node["tier"] is None else node["tier"]
    cpus = _ranges(node["cpus"]) or "-"
    line = (
        f"{tier:>4} {node['node']:>4} {elided(cpus, 9):<9} "
        f"{format_size(node['size_bytes']):>10} {format_size(node['free_bytes']):>10}"
    )
    if timed:
        line += f" {_latency(node['access']):>9} {_bandwidth(node['access']):>9}"
    return f"{line}  {', '.join(map(str, node['demotion_targets'])) or '-'}"


def _latency(access: Facts | None) -> str:
    return f"{access['read_latency_ns']}/{access['write_latency_ns']}" if access else "-"


def _bandwidth(access: Facts | None) -> str:
    if access is None:
        return "-"
    return "/".join(
        format_number(access[name] / 1000, 3) for name in ("read_bandwidth_mb_s", "write_bandwidth_mb_s")
    )


def _distances(nodes: Iterable[Facts], numbers: Sequence[str]) -> Iterator[str]:
    yield ""
    yield "distances" + "".join(f"{number:>5}" for number in numbers)
    for node in sorted(nodes, key=lambda node: node["node"]):
        yield f"{node['node']:>9}" + "".join(f"{node['distances'].get(number, '-'):>5}" for number in numbers)


def _ranges(numbers: Sequence[int]) -> str:
    """
    >>> _ranges([0, 1, 2, 5])
    '0-2,5'
    """
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][1] + 1 == number:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in parts)


def _kernel_tiering(knobs: Facts) -> Iterator[str]:
    demotion = {None: "not in this kernel", True: "on", False: "off"}[knobs["demotion_enabled"]]
    mode = knobs["numa_balancing"]
    balancing = "not in this kernel" if mode is None else _BALANCING.get(mode, str(mode))
    yield ""
    yield f"demotion by reclaim: {demotion}; NUMA balancing: {balancing}"


def _section(title: str, findings: Sequence[Facts], colour: bool) -> Iterator[str]:
    """What works comes first. A reason that all findings share, or all but one, is given once, below the title."""
    shared = _shared(findings)
    findings = sorted(findings, key=lambda finding: list(_COLOURS).index(finding["verdict"]))
    working = sum(finding["verdict"] == "yes" for finding in findings)
    yield ""
    yield f"{title} ({working} of {len(findings)} work here)"
    for need, mark in shared:
        yield from _need(need, "  ", mark)
    width = 1 + max(len(finding["name"]) for finding in findings)
    for finding in findings:
        yield f"  {finding['name']:<{width}} {_painted(finding['verdict'], colour)}"
        if finding["summary"]:
            yield from _wrap(finding["summary"], _INDENT, _INDENT)
        for need in finding["needs"]:
            if need["verdict"] != "yes" and all(need != said for said, _ in shared):
                yield from _need(need, _INDENT)


def _shared(findings: Sequence[Facts]) -> list[tuple[Facts, str]]:
    """The unmet needs that all findings share, or all but one, each with its mark: "all" or "all but NAME"."""
    unmet = [[need for need in finding["needs"] if need["verdict"] != "yes"] for finding in findings]
    found: list[tuple[Facts, str]] = []
    for need in [each for needs in unmet for each in needs]:
        others = [
            finding["name"] for finding, needs in zip(findings, unmet, strict=True) if need not in needs
        ]
        mark = f"all but {others[0]}" if others else "all"
        if len(others) <= (len(findings) > 2) < len(findings) and (need, mark) not in found:
            found.append((need, mark))
    return found


def _need(need: Facts, indent: str, mark: str = "no") -> Iterator[str]:
    """Why a need is not met, and the remedy."""
    below = " " * (len(indent) + len(mark) + 2)
    yield from _wrap(need["why"], f"{indent}{mark}: ", below)
    if need["remedy"]:
        yield from _wrap(need["remedy"], f"{below}remedy: ", f"{below}        ")


def _painted(verdict: str, colour: bool) -> str:
    return f"\x1b[{_COLOURS[verdict]}m{verdict}\x1b[0m" if colour else verdict


def _wrap(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        printable(text), WIDTH, initial_indent=first, subsequent_indent=rest,
        break_long_words=False, break_on_hyphens=False,
    ) or [first.rstrip()]  # fmt: skip
