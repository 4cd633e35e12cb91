"""The tiers file: which memory nodes a machine has, how fast and how large they are.

It is a TOML document, validated by pydantic. Unknown keys and impossible values are errors that name the key and,
where it can be found, its line. `load_topology` takes a shipped name or a path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    InstanceOf,
    PlainSerializer,
    model_validator,
)

from pghot.documents import Shipped, Strict
from pghot.errors import UsageError
from pghot.policies import tiers
from pghot.quantities import Cores, LatencyNs, LinesInFlight, MemorySize, RateGbS, Size
from pghot.rules import PROMOTE_ON_WRITE, AccessRule, rule_named
from pghot.sim.compressed.device import CompressedDevice, load_device
from pghot.sim.machine.costs import Costs
from pghot.sim.machine.curves import CURVES, load_curve
from pghot.sim.machine.price import Price
from pghot.units import format_number


def _device(value: Any) -> Any:
    """A device, from a shipped name, a file, or the keys themselves."""
    if not isinstance(value, str):
        return value
    try:
        return load_device(value)
    except UsageError as error:
        raise ValueError(f"{error}; {error.hint}") from error


def _rule(value: Any) -> Any:
    """The access rule with this name."""
    if not isinstance(value, str):
        return value
    try:
        return rule_named(value)
    except UsageError as error:
        raise ValueError(f"{error}; {error.hint}") from error


def _rule_name(rule: AccessRule) -> str:
    return rule.name


def _curve(name: str) -> str:
    """The name, if there is such a curve."""
    if name:
        try:
            load_curve(name)
        except UsageError as error:
            raise ValueError(f"{error}; {error.hint}") from error
    return name


NamedRule = Annotated[InstanceOf[AccessRule], BeforeValidator(_rule), PlainSerializer(_rule_name)]


class Node(Strict):
    """One memory node.

    latency_ns        idle load-to-use latency from the nearest CPU
    write_latency_ns  the same for a store that misses; equal to latency_ns unless the medium is asymmetric
    bandwidth_gb_s    peak bandwidth that reads alone reach, 10**9 bytes/s
    curve             how latency grows with load: a shipped name or a file (`machine.curves`); by default that of the
                      device: "hbm", "cxl", or "ddr5" for all others
    cpus              cores on the node; 0 for HBM, CXL and other CPU-less nodes
    remote_ns         extra latency when the CPU of another node accesses this one, by that node's number
    device            the medium, for readers: "dram", "hbm", "cxl", "pmem"
    compressed        the device, if the node compresses
    real_capacity     bytes of its medium; `capacity` is what it promises
    reserve           bytes of the medium that are kept free
    access            the name of its access rule
    """

    name: str
    device: str = "dram"
    cpus: Cores = 0
    capacity: MemorySize = Field(gt=0)
    compressed: Annotated[CompressedDevice, BeforeValidator(_device)] | None = None
    real_capacity: Annotated[MemorySize, Field(gt=0)] | None = None
    reserve: Size = 0
    access: NamedRule = PROMOTE_ON_WRITE
    latency_ns: LatencyNs
    write_latency_ns: LatencyNs | None = None
    bandwidth_gb_s: RateGbS
    curve: Annotated[str, AfterValidator(_curve)] = ""
    remote_ns: dict[str, Annotated[float, Field(ge=0, le=1e6)]] = Field(default_factory=dict)

    @property
    def curve_name(self) -> str:
        """The curve that is given, or that of the device."""
        device = self.device.rpartition(" ")[2]  # "compressed cxl" is behind the same link
        return self.curve or (device if device in CURVES.names() else "ddr5")

    @model_validator(mode="after")
    def _overcommitted(self) -> Node:
        if self.compressed is None:
            if self.real_capacity is not None or self.reserve:
                raise ValueError("real_capacity and reserve are for nodes with 'compressed'")
            return self
        if self.real_capacity is None:
            raise ValueError("a compressed node needs real_capacity, the size of its medium")
        if self.capacity < self.real_capacity:
            raise ValueError(
                f"capacity ({self.capacity} B), what the device promises, is below real_capacity "
                f"({self.real_capacity} B)"
            )
        if self.reserve >= self.real_capacity:
            raise ValueError("reserve must be below real_capacity")
        if self.cpus:
            raise ValueError("a compressed node has no cpus")
        if self.write_latency_ns is not None:
            raise ValueError(
                "a compressed node has no write_latency_ns: its device sets the latency of a miss"
            )
        return self


@dataclass(frozen=True, slots=True)
class Compression:
    """The node that compresses: its number, its device and rule, sizes in bytes, and the keys of its link."""

    node: int
    device: CompressedDevice
    access: AccessRule
    promised: int
    real: int
    reserve: int
    latency_ns: float
    bandwidth_gb_s: float


class Antagonist(Strict):
    """Background load: cores that compete for a node's bandwidth.

    lines_in_flight_per_core  misses that each keeps in flight (prefetched streams: 20 to 50, FACTS 8)
    read_share                of its traffic; the rest is lines that it writes back
    """

    node: int = Field(0, ge=0)
    cores: Cores = 0
    lines_in_flight_per_core: LinesInFlight = 20.0
    read_share: float = Field(1.0, ge=1e-3, le=1)


class Watermarks(Strict):
    """Shares of a node: allocation stops at `min`, kswapd wakes below `low` and frees to `high`.

    The kernel's default spacing is watermark_scale_factor = 10, i.e. 0.1 % of the node between marks.
    """

    min: float = Field(0.002, ge=0, lt=0.5)
    low: float = Field(0.003, ge=0, lt=0.5)
    high: float = Field(0.004, ge=0, lt=0.5)

    @model_validator(mode="after")
    def _ordered(self) -> Watermarks:
        if not self.min <= self.low <= self.high:
            raise ValueError("watermarks must satisfy min <= low <= high")
        return self


class Topology(Strict):
    """A machine of the lab.

    llc        bytes of the last-level caches of the real machine, all sockets; None: not said
    cpu_vendor who made its CPUs, and so which event sampling they have; None: not said
    distances  the ACPI SLIT matrix; by default it is made from the latencies
    price      what the memory of each node costs; None: not said
    """

    description: str = ""
    llc: Annotated[MemorySize, Field(gt=0)] | None = None
    cpu_vendor: Literal["amd", "intel"] | None = None
    nodes: tuple[Node, ...] = Field(min_length=1, max_length=64)
    distances: tuple[tuple[Annotated[int, Field(ge=1, le=255)], ...], ...] = ()
    watermarks: Watermarks = Watermarks()
    costs: Costs = Costs()
    antagonist: Antagonist = Antagonist()
    price: Price | None = None
    # Kernel threads run beside the program; on a machine without a spare core they take its time.
    spare_cores: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> Topology:
        count = len(self.nodes)
        if len({node.name for node in self.nodes}) < count:
            raise ValueError("two nodes have the same name")
        if not any(node.cpus for node in self.nodes):
            raise ValueError("no node has cpus: nothing can run")
        compressed = sum(node.compressed is not None for node in self.nodes)
        if compressed > 1:
            raise ValueError("more than one node compresses: describe the devices as one node")
        if compressed and count == 1:
            raise ValueError("a compressed node alone: no program can be placed there")
        if self.distances and (
            len(self.distances) != count or any(len(row) != count for row in self.distances)
        ):
            raise ValueError(f"distances must be a {count} x {count} matrix")
        if self.antagonist.node >= count:
            raise ValueError(f"antagonist.node {self.antagonist.node} does not exist")
        for node in self.nodes:
            for other in node.remote_ns:
                if other not in map(str, range(count)):
                    raise ValueError(
                        f"remote_ns of node '{node.name}' names node {other}, which does not exist"
                    )
        return self

    @model_validator(mode="after")
    def _each_node_has_a_price(self) -> Topology:
        if self.price is not None:
            names = [node.name for node in self.nodes]
            if unknown := [name for name in self.price.per_gib if name not in names]:
                raise ValueError(f"price.per_gib names '{unknown[0]}': the nodes are {', '.join(names)}")
            if missing := [name for name in names if name not in self.price.per_gib]:
                raise ValueError(
                    f"price.per_gib has no price of '{missing[0]}': give one, or 0 if it is there already"
                )
        return self

    @property
    def llc_bytes(self) -> int | None:
        """Bytes of the real machine's last-level caches; None when the tiers file does not say."""
        return self.llc

    def distance_matrix(self) -> list[list[int]]:
        """The given SLIT. By default 10 on the diagonal, and ten times the relative latency elsewhere."""
        if self.distances:
            return [list(row) for row in self.distances]
        fastest = min(node.latency_ns for node in self.nodes)
        return [
            [
                10 if i == j else max(11, round(10 * node.latency_ns / fastest))
                for j, node in enumerate(self.nodes)
            ]
            for i in range(len(self.nodes))
        ]

    def adistances(self) -> list[int]:
        """Abstract distance of each node, relative to the node with the most CPUs (the system's DRAM)."""
        dram = max(self.nodes, key=lambda node: node.cpus)
        return [
            tiers.ADISTANCE_DRAM
            if node.cpus
            else tiers.adistance(node.latency_ns, node.bandwidth_gb_s, dram.latency_ns, dram.bandwidth_gb_s)
            for node in self.nodes
        ]

    def ranks(self) -> list[int]:
        """Tier rank of each node, 0 = top. A compressed node is the last tier before reclaim (FACTS 6)."""
        numbers = [tiers.tier_number(distance) for distance in self.adistances()]
        last = max(numbers) + 1
        return tiers.ranks(
            [last if node.compressed else number for node, number in zip(self.nodes, numbers, strict=True)]
        )

    def with_cpus(self) -> tuple[int, ...]:
        return tuple(index for index, node in enumerate(self.nodes) if node.cpus)

    def top_nodes(self) -> tuple[int, ...]:
        return tuple(index for index, rank in enumerate(self.ranks()) if rank == 0)

    @property
    def compression(self) -> Compression | None:
        """The node that compresses; None if there is none."""
        for index, node in enumerate(self.nodes):
            if node.compressed is not None and node.real_capacity is not None:
                return Compression(
                    node=index,
                    device=node.compressed,
                    access=node.access,
                    promised=node.capacity,
                    real=node.real_capacity,
                    reserve=node.reserve,
                    latency_ns=node.latency_ns,
                    bandwidth_gb_s=node.bandwidth_gb_s,
                )
        return None

    def with_compressed_node(self, **keys: Any) -> Topology:
        """The same machine with these keys of its compressed node changed.

        Raises `UsageError` when no node compresses.
        """
        if (held := self.compression) is None:
            raise UsageError("no node of these tiers compresses", "give --tiers dram-cxl-compressed")
        nodes = list(self.nodes)
        nodes[held.node] = nodes[held.node].model_copy(update=keys)
        return self.model_copy(update={"nodes": tuple(nodes)})

    def warnings(self) -> list[str]:
        """What looks odd but is allowed."""
        rank = self.ranks()
        found = []
        for fast in self.top_nodes():
            if self.nodes[fast].device == "hbm":
                continue  # HBM is on top because of its bandwidth; its latency is that of DRAM or worse
            for slow, node in enumerate(self.nodes):
                if rank[slow] > rank[fast] and node.latency_ns < self.nodes[fast].latency_ns:
                    found.append(
                        f"'{node.name}' ({format_number(node.latency_ns)} ns) is ranked below "
                        f"'{self.nodes[fast].name}' ({format_number(self.nodes[fast].latency_ns)} ns) although its "
                        "latency is lower"
                    )
        found += [
            f"'{node.name}' has no CPUs and is faster than the DRAM, so it becomes the top tier; "
            "check latency_ns and bandwidth_gb_s"
            for node, tier in zip(self.nodes, rank, strict=True)
            if tier == 0 and not node.cpus and node.device != "hbm"
        ]
        if len(set(rank)) == 1:
            found.append("all nodes are in one tier: nothing can be promoted")
        return found


TOPOLOGIES = Shipped(Topology, "tiers", "tiers")
load_topology = TOPOLOGIES.load
