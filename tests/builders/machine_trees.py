"""Hand-made trees of /proc and /sys: machines that we do not have, and damaged ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pghot.kernel.sysroot import SysRoot

CAPTURED = Path(__file__).parents[1] / "captured"
NODES = "sys/devices/system/node"
TIERS = "sys/devices/virtual/memory_tiering"


@dataclass(frozen=True)
class Node:
    """One node. `perf` is latency in ns and bandwidth in MB/s, for reads and writes alike."""

    number: int
    distance: str
    cpus: str = ""
    mib: int = 1024
    tier: int | None = None
    perf: tuple[int, int] | None = None


def captured(name: str) -> SysRoot:
    """A real machine's tree."""
    return SysRoot(CAPTURED / name)


def put(tree: Path, name: str, text: str) -> None:
    """Write a file of a tree, as the kernel does with a newline."""
    path = tree / name.lstrip("/")  # never the file of this machine
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def machine(tree: Path, *nodes: Node, release: str = "6.12.0") -> SysRoot:
    """A machine of these nodes; tiers are shown when the nodes name them."""
    put(tree, "proc/sys/kernel/osrelease", release)
    put(tree, f"{NODES}/online", _list([node.number for node in nodes]))
    put(tree, f"{NODES}/has_memory", _list([node.number for node in nodes if node.mib]))
    put(tree, "proc/zoneinfo", "\n".join(_zone(node) for node in nodes if node.mib))
    for node in nodes:
        _put_node(tree, node)
    for tier in {node.tier for node in nodes} - {None}:
        put(tree, f"{TIERS}/memory_tier{tier}/nodelist", _list([n.number for n in nodes if n.tier == tier]))
    return SysRoot(tree)


def _put_node(tree: Path, node: Node) -> None:
    own = f"{NODES}/node{node.number}"
    put(tree, f"{own}/cpulist", node.cpus)
    put(tree, f"{own}/distance", node.distance)
    total = node.mib << 10
    put(
        tree,
        f"{own}/meminfo",
        f"Node {node.number} MemTotal: {total:>12} kB\nNode {node.number} MemFree: {total // 2:>12} kB",
    )
    if node.perf is not None:
        for access in (0, 1):
            for kind in ("read", "write"):
                put(tree, f"{own}/access{access}/initiators/{kind}_latency", str(node.perf[0]))
                put(tree, f"{own}/access{access}/initiators/{kind}_bandwidth", str(node.perf[1]))


def _zone(node: Node) -> str:
    """A zone with watermarks of 100, 125, 150 and 175 pages."""
    return (
        f"Node {node.number}, zone   Normal\n  pages free     {node.mib * 128}\n        boost    0\n"
        f"        min      100\n        low      125\n        high     150\n        promo    175\n"
        f"        spanned  {node.mib * 256}\n        managed  {node.mib * 256}\n"
        "  pagesets\n    cpu: 0\n              count:    1\n              high:     2"
    )


def _list(numbers: Sequence[int]) -> str:
    return ",".join(str(number) for number in numbers)


def cxl_tree(root: Path, ways: int = 2) -> None:
    """Devices mem0, mem1, ... whose memory takes turns of 4 KiB in one region at 64 GiB."""
    devices = "/sys/bus/cxl/devices"
    for name, text in (
        ("interleave_ways", str(ways)), ("interleave_granularity", "4096"), ("resource", hex(64 * (1 << 30))),
    ):  # fmt: skip
        put(root, f"{devices}/region0/{name}", text)
    for number in range(ways):
        endpoint, decoder = f"endpoint{number + 4}", f"decoder{number + 4}.0"
        put(root, f"{devices}/region0/target{number}", decoder)
        put(root, f"{devices}/{decoder}/dpa_resource", "0x10000000")
        put(root, f"{devices}/{decoder}/dpa_size", hex(1 << 30))
        put(root, f"{devices}/mem{number}/serial", "0x1")
        port = root / f"{devices.lstrip('/')}/{endpoint}"
        port.mkdir()
        (port / "uport").symlink_to(f"../../../devices/pci/mem{number}")
