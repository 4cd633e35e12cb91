"""The live side's results as text for 80 columns: pure functions of the JSON facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pghot.counters import LOSSES
from pghot.printable import printable
from pghot.units import PAGE_BYTES, counted, format_number, format_share, format_size

if TYPE_CHECKING:
    from pghot.live.damos.damos import SchemeFacts
    from pghot.live.hot import HotFacts
    from pghot.live.status_facts import NodeFacts, SourceFacts, StatusFacts
    from pghot.live.undone import UndoneFacts


def render_run(facts: StatusFacts) -> str:
    """The summary of `pghot run`."""
    moves, applied = facts["moves"], facts["mode"] == "apply"
    verb = "promoted" if applied else "would promote (dry run: nothing was changed)"
    lines = [
        f"{facts['mode']}, {facts['seconds']:.1f} s, policy {facts['policy']}",
        *degraded_lines(facts),
        *nothing_seen(facts),
        *(f"  {source_line(source)}" for source in facts["sources"]),
        *group_lines(facts),
        *damos_lines(facts),
        "",
        *node_table(facts["nodes"]),
        *left_out_lines(facts),
        "",
        f"{verb}: {pages(moves['promoted_pages'])}"
        if applied or facts["mover"]["name"] == "move_pages"
        else "dry run: nothing was changed; which pages DAMON would have moved is not known",
    ]
    if applied:
        lines.append(f"demoted: {pages(moves['demoted_pages'])}")
    lines += [*goal_lines(facts), *effect_lines(facts)]
    lines += compressed(facts)
    if moves["promoted_by_the_kernel_pages"]:
        lines.append(f"promoted by the kernel itself: {pages(moves['promoted_by_the_kernel_pages'])}")
    if moves["balanced_by_the_kernel_pages"]:
        balanced = pages(moves["balanced_by_the_kernel_pages"])
        lines.append(f"moved by the kernel's balancing, not in the journal: {balanced}")
    if moves["failed"]:
        lines.append(
            "not moved: " + ", ".join(f"{count:,} {name}" for name, count in moves["failed"].items())
        )
    lines += skipped(facts["counters"])
    lines += [own_cost(facts)]
    if "undone" in facts:
        lines += pages_back(facts["undone"])
    if facts["journal"]:
        lines.append(f"put back with: pghot undo {printable(facts['journal'])}")
    return "\n".join(lines)


def source_line(source: SourceFacts, before: int = 0, seconds: float = 0.0) -> str:
    """One source: its sightings and losses. With `seconds`, also its rate since it had seen `before`."""
    counts = source["counters"]
    seen, lost = counts["pghot_sightings"], sum(counts.get(name, 0) for name in LOSSES)
    pace = f" {max(0, seen - before) / seconds:,.0f}/s," if seconds else ""
    return f"{source['name']}: {seen:,} sightings,{pace} {lost:,} lost; {source['sampling']}"


def source_lines(facts: StatusFacts, before: StatusFacts | None) -> list[str]:
    """The sources of a status; rates are over the time since `before` (or the start)."""
    seconds = max(facts["seconds"] - (before["seconds"] if before else 0.0), 1e-9)
    sources = before["sources"] if before else []
    then = {source["name"]: source["counters"]["pghot_sightings"] for source in sources}
    return [source_line(source, then.get(source["name"], 0), seconds) for source in facts["sources"]]


def degraded_lines(facts: StatusFacts) -> list[str]:
    """What is wrong, each with what to do; nothing when all is well."""
    return [
        f"degraded: {printable(each['part'])}: {printable(each['problem'])}" for each in facts["degraded"]
    ]


def goal_lines(facts: StatusFacts) -> list[str]:
    """How far the goal of promotion is; nothing without one."""
    goal = facts["moves"]["goal"]
    if goal is None:
        return []
    now = "not known yet" if goal["measured"] is None else f"now {format_share(goal['measured'])}"
    rate = facts["moves"]["rate_limit_mb_s"]
    return [
        f"goal {goal['kind']} {format_number(goal['wanted'], 4)}: {now}; promotes at "
        f"{format_share(goal['rate_share'], 0)} of {format_number(rate)} MiB/s"
    ]


def group_lines(facts: StatusFacts) -> list[str]:
    """The groups of programs, in order; nothing where all are under one policy."""
    return [
        f"  {group['name']}: {counted(group['programs'], 'program')}, {group['policy']}, promoted "
        f"{pages(group['promoted_pages'])} of {format_number(group['rate_limit_mb_s'])} MiB/s"
        + (
            ""
            if group["pingpong_guard_share"] == 1
            else f" x {format_share(group['pingpong_guard_share'], 0)}: ping-pong"
        )
        for group in facts["groups"]
    ]


def effect_lines(facts: StatusFacts) -> list[str]:
    """What was seen in the first seconds beside the last; nothing until there are both."""
    if facts["effect"] is None:
        return []
    first, last = facts["effect"]["first"], facts["effect"]["last"]
    span = f"in the first {first['seconds']:.0f} s"
    lines = []
    if first["fast_share"] is not None and last["fast_share"] is not None:
        served = (100 * first["fast_share"], 100 * last["fast_share"])
        lines.append(
            f"accesses on the top tier: {format_share(served[0] / 100, 0)} of those seen {span}, "
            f"{format_share(served[1] / 100, 0)} in the last"
        )
    elif first["below_per_s"] is not None and last["below_per_s"] is not None:
        rates = f"{first['below_per_s']:,.0f}/s {span}, {last['below_per_s']:,.0f}/s in the last"
        lines.append(f"accesses seen below the top tier: {rates}")
    if first["pressure_percent"] is not None and last["pressure_percent"] is not None:
        lines.append(
            f"time in which a task waited for memory: {format_share(first['pressure_percent'] / 100)} {span}, "
            f"{format_share(last['pressure_percent'] / 100)} in the last"
        )
    return lines


def nothing_seen(facts: StatusFacts | HotFacts) -> list[str]:
    """Why no access was seen; nothing when one was."""
    why = [f"  {printable(reason)}" for reason in facts["nothing_seen"]]
    return ["nothing was seen, because", *why] if why else []


def damos_lines(facts: StatusFacts) -> list[str]:
    """What DAMON was told to do and did, when it is the mover."""
    return [
        f"  {scheme['action']} node {scheme['from_node']} -> {scheme['to_node']}"
        f"{' of ' + printable(scheme['cgroup']) if scheme['cgroup'] else ''}: {_doing(scheme)}; "
        f"{counted(scheme.get('nr_tried', 0), 'region')} tried, {format_size(scheme.get('sz_applied', 0))} done"
        for scheme in facts["mover"].get("schemes", ())
        if scheme["when"] in ("promote", "demote")
    ]


def _doing(scheme: SchemeFacts) -> str:
    if not scheme["running"]:
        return "off"
    looked = f"{int(100 * scheme['swept'])} % of the pages were looked at once"
    unswept = scheme["when"] == "promote" and scheme["swept"] < 1
    if scheme["acts"]:
        return f"acts, though only {looked}" if unswept else "acts"
    return f"waits, {looked}" if unswept else "held back"


def node_table(nodes: Sequence[NodeFacts]) -> list[str]:
    """The nodes, fastest tier first."""
    lines = [f"  {'node':>4} {'tier':>4} {'size':>11} {'free':>11} {'floor':>11} {'tracked':>11}"]
    for node in sorted(nodes, key=lambda node: (node["tier"], node["node"])):
        sizes = (node["capacity_bytes"], node["free_bytes"], node["floor_bytes"], node["tracked_bytes"])
        lines.append(
            f"  {node['node']:>4} {node['tier']:>4} " + " ".join(f"{format_size(size):>11}" for size in sizes)
        )
    return lines


def left_out_lines(facts: StatusFacts) -> list[str]:
    """The memory nodes that are left out; nothing without any."""
    return [
        f"  node {each['node']} is left out: {each['why']}; {format_size(each['tracked_bytes'])} tracked there stays"
        for each in facts["left_out_nodes"]
    ]


def compressed(facts: StatusFacts) -> list[str]:
    """What went into the compressed tier and what it saves; nothing without one."""
    tier = facts["compressed"]
    if not tier:
        return []
    verb = "put out" if facts["mode"] == "apply" else "would put out"
    return [
        f"{tier['kind']} (node {tier['node']}): {verb} {pages(tier['out_pages'])}, "
        f"fetched {tier['fetched_pages']:,}, back by a fault {tier['faulted_pages']:,}",
        f"  there now: {pages(tier['pages'])} of these programs; it takes "
        f"{format_size(tier['used_bytes'])} for {format_size(tier['original_bytes'])}; "
        f"saved {'-' * (tier['saved_bytes'] < 0)}{format_size(abs(tier['saved_bytes']))}",
    ]


def skipped(counters: Mapping[str, float]) -> list[str]:
    """Why sightings were not tracked, and what is not watched at all, if any."""
    reasons = {
        name.removeprefix("pghot_skipped_").replace("_", " "): int(count)
        for name, count in counters.items()
        if name.startswith("pghot_skipped_") and count
    }
    lines = (
        ["not tracked: " + ", ".join(f"{count:,} {why}" for why, count in reasons.items())] if reasons else []
    )
    if bound := counters.get("pghot_bound_bytes", 0):
        lines.append(f"left alone: {format_size(bound)} under a strict policy of its owner")
    if unknown := counters.get("pghot_policy_unknown_bytes", 0):
        lines.append(f"waits: {format_size(unknown)} of programs that are being asked which memory is bound")
    if unscanned := counters.get("pghot_unscanned_bytes", 0):
        lines.append(
            f"no hint faults: {format_size(unscanned)} under a policy of its owner, such as preferred or interleave;"
        )
        lines.append("  another --source sees it, beside faults or in its place")
    if hugetlb := counters.get("pghot_hugetlb_bytes", 0):
        lines.append(f"left alone: {format_size(hugetlb)} in mappings of hugetlb pages")
    if unseen := counters.get("pghot_unseen_hugetlb_bytes", 0):
        lines.append(
            f"unseen: {format_size(unseen)} in mappings of hugetlb pages; damon, ibs, pebs and spe see them"
        )
    if refused := counters.get("pghot_hugetlb_no_room", 0):
        lines.append(f"no room: {pages(int(refused))} of hugetlb pages, each time that a pool had none free")
    return lines


def own_cost(facts: StatusFacts) -> str:
    """pghot's own CPU and memory."""
    cpu_s, seconds = facts["counters"]["pghot_cpu_seconds"], max(facts["seconds"], 1e-9)
    tracking = facts["tracking"]
    each = tracking["bytes_per_tracked_page"]
    per_page = f" ({each} for each tracked page)" if each else ""
    return (
        f"pghot itself: {format_share(cpu_s / seconds)} of a CPU, "
        f"{format_size(facts['counters']['pghot_resident_bytes'])} resident, "
        f"{format_size(tracking['bytes_used'])} of it for tracking{per_page}"
    )


def pages(count: int) -> str:
    """
    >>> pages(512)
    '512 pages (2.0 MiB)'
    """
    return f"{counted(count, 'page')} ({format_size(count * PAGE_BYTES)})"


def render_undo(facts: UndoneFacts) -> str:
    """What `pghot undo` did."""
    gone = [
        *(f"{who} has ended or is another program now" for who in facts["processes_gone"]),
        *(f"no program maps {which} any more" for which in facts["files_gone"]),
    ]
    lines = [
        *([facts["nothing"]] if "nothing" in facts else []),
        *pages_back(facts),
        *(f"nothing to do: {each}" for each in gone),
        f"knobs put back: {', '.join(facts['knobs']) or 'none'}",
        *(f"problem: {problem}" for problem in facts["problems"]),
    ]
    return "\n".join(map(printable, lines))


def pages_back(facts: UndoneFacts) -> list[str]:
    """What an undo did to pages. `--restore` is an undo too."""
    return [
        f"pages back: {facts['pages_back']:,}, were home already: {facts['pages_home']:,}, "
        f"gone: {facts['pages_gone']:,}",
        *(
            f"could not be moved back: {counted(count, 'page')} of {printable(who)}"
            for who, count in facts["pages_left"].items()
        ),
    ]


def render_status(facts: StatusFacts, before: StatusFacts | None) -> str:
    """What `pghot status` prints; rates are over the time since `before` (or the start)."""
    moves = facts["moves"]
    if before and before["seconds"] >= facts["seconds"]:
        before = None  # the daemon reloaded its configuration in between, and its counts started again
    lines = [
        f"{facts['mode']}, up {facts['seconds']:.0f} s, policy {facts['policy']}, "
        f"{counted(len(facts['programs']), 'program')}, {counted(facts['counters']['pghot_sections'], 'section')}",
        *degraded_lines(facts),
        *nothing_seen(facts),
        *(f"  {line}" for line in source_lines(facts, before)),
        *group_lines(facts),
        *damos_lines(facts),
        "",
        *node_table(facts["nodes"]),
        *left_out_lines(facts),
        "",
        f"promoted {pages(moves['promoted_pages'])}, {rate(facts, before, 'promoted_pages')}; "
        f"demoted {pages(moves['demoted_pages'])}, {rate(facts, before, 'demoted_pages')}",
    ]
    if moves["failed"]:
        lines.append(
            "not moved: " + ", ".join(f"{count:,} {name}" for name, count in moves["failed"].items())
        )
    more = [
        *goal_lines(facts),
        *effect_lines(facts),
        *compressed(facts),
        *skipped(facts["counters"]),
        own_cost(facts),
    ]
    return "\n".join([*lines, *more])


def rate(
    facts: StatusFacts, before: StatusFacts | None, key: Literal["promoted_pages", "demoted_pages"]
) -> str:
    """How fast a count of `moves` rises."""
    then, then_s = (before["moves"][key], before["seconds"]) if before else (0, 0.0)
    per_s = (facts["moves"][key] - then) / max(facts["seconds"] - then_s, 1e-9)
    return f"{format_size(per_s * PAGE_BYTES)}/s"


def render_hot(facts: HotFacts) -> str:
    """What `pghot hot` prints."""
    if not facts["hot"]:
        return "\n".join(nothing_seen(facts)) or "nothing was seen lately"
    lines = [f"{'heat':>10} {'pid':>8} {'address':>18} {'size':>10} {'node':>4}"]
    lines += [
        f"{row['heat']:>10,} {row['pid']:>8} {row['address']:>#18x} {format_size(row['bytes']):>10} {row['node']:>4}"
        for row in facts["hot"]
    ]
    return "\n".join(lines)
