"""The nodes of the machine: a bar of what is on each, and the limits of the tracked cgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from pghot.printable import printable
from pghot.report.view.bars import cells
from pghot.report.view.parts import DIM, PanelRoom, cut, title
from pghot.units import format_short_size

if TYPE_CHECKING:
    from pghot.live.status_facts import CgroupFacts, NodeFacts, StatusFacts

# Character, style and meaning of each part of a node's bar.
PARTS = (
    ("█", "red", "hot"),
    ("▓", "yellow", "tracked"),
    ("▒", "blue", "other"),
    ("·", "", "free"),
    ("=", "", "floor"),
)
SIZES = ("capacity", "free", "floor", "tracked", "hot")


def node_lines(facts: StatusFacts, room: PanelRoom) -> list[Text]:
    """Each node, fastest tier first: the bar, and the sizes."""
    legend = Text("  ").join(
        Text.assemble((character, style), f" {name}") for character, style, name in PARTS
    )
    across = max(5, room.width - 10 - 9 * len(SIZES))
    names = "".join(f"{name:>9}" for name in SIZES)
    lines = [
        title("nodes", legend, room.width),
        cut(Text(f"node tier {'':{across}}{names}", DIM), room.width),
    ]
    for node in sorted(facts["nodes"], key=lambda node: (node["tier"], node["node"])):
        limits = (node["capacity_bytes"], node["free_bytes"], node["floor_bytes"])
        sizes = (*limits, node["tracked_bytes"], node["hot_bytes"])
        words = "".join(f"{format_short_size(size):>9}" for size in sizes)
        front = f"{node['node']:>4} {node['tier']:>4} "
        lines.append(cut(Text.assemble(front, node_bar(node, across), words), room.width))
    return lines + [cut(Text(cgroup_words(cgroup)), room.width) for cgroup in facts["cgroups"]]


def node_bar(node: NodeFacts, width: int) -> Text:
    """Hot and other tracked memory, memory of others, what is free and may be filled, what must stay free."""
    capacity = node["capacity_bytes"]
    free = min(node["free_bytes"], capacity)
    tracked = min(node["tracked_bytes"], capacity - free)
    hot = min(node["hot_bytes"], tracked)
    floor = min(node["floor_bytes"], free)
    amounts = (hot, tracked - hot, capacity - free - tracked, free - floor, floor)
    parts = zip(PARTS, cells(amounts, width), strict=True)
    return Text.assemble(*((character * count, style) for (character, style, _), count in parts))


def cgroup_words(cgroup: CgroupFacts) -> str:
    """A tracked cgroup beside its limits; what is unknown or unlimited is left out."""
    limits = {"uses": cgroup["current_bytes"], "high": cgroup["high_bytes"], "max": cgroup["max_bytes"]}
    words = [f"{word} {format_short_size(size)}" for word, size in limits.items() if size is not None]
    return f"cgroup {printable(cgroup['cgroup'])}: {', '.join(words) or 'no limits'}"
