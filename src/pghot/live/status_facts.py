"""The shape of the documents `pghot.status/1` and `pghot.run/1`; docs/cli.md says what each key means."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from pghot.live.damos.damos import MoverFacts
from pghot.live.effect import EffectFacts
from pghot.live.machine.rate_goal import GoalFacts
from pghot.live.swap_tier.setup import CompressedFacts
from pghot.live.undone import UndoneFacts


class ProgramFacts(TypedDict):
    pid: int
    name: str


class SourceFacts(TypedDict):
    name: str
    sampling: str
    weight: int
    effort: float
    counters: dict[str, int]


class DegradedFacts(TypedDict):
    part: str
    problem: str


class NodeFacts(TypedDict):
    node: int
    tier: int
    capacity_bytes: int
    free_bytes: int
    floor_bytes: int
    tracked_bytes: int
    hot_bytes: int


class LeftOutFacts(TypedDict):
    node: int
    why: str
    tracked_bytes: int


class GroupFacts(TypedDict):
    name: str
    policy: str
    programs: int
    promoted_pages: int
    rate_limit_mb_s: float
    pingpong_guard_share: float


class CgroupFacts(TypedDict):
    cgroup: str
    max_bytes: int | None
    high_bytes: int | None
    current_bytes: int | None
    nodes: tuple[int, ...] | None


PageCount = Literal["promoted_pages", "demoted_pages", "promoted_by_the_kernel_pages"]


class MoveFacts(TypedDict):
    promoted_pages: int
    demoted_pages: int
    failed: dict[str, int]
    held_back: dict[str, int]
    lowest_free_above_floor_pages: int | None
    rate_limit_mb_s: float
    pingpong_guard_share: float
    goal: GoalFacts | None
    promoted_by_the_kernel_pages: int
    balanced_by_the_kernel_pages: int


class TrackingFacts(TypedDict):
    tracked_pages: int
    bytes_used: int
    bytes_per_tracked_page: float | None


class BudgetFacts(TypedDict):
    max_cpu_percent: float | None
    effort: float


class StatusFacts(TypedDict):
    """The keys that need not be there are of a daemon, but for `undone`, of a run with --restore."""

    schema: str
    mode: Literal["apply", "dry run"]
    seconds: float
    policy: str
    programs: list[ProgramFacts]
    cgroups: list[CgroupFacts]
    groups: list[GroupFacts]
    compressed: CompressedFacts | None
    sources: list[SourceFacts]
    degraded: list[DegradedFacts]
    effect: EffectFacts | None
    nothing_seen: list[str]
    nodes: list[NodeFacts]
    left_out_nodes: list[LeftOutFacts]
    mover: MoverFacts
    moves: MoveFacts
    counters: dict[str, float]
    tracking: TrackingFacts
    budget: BudgetFacts
    journal: str | None
    consumers: NotRequired[int]
    consumers_dropped: NotRequired[int]
    consumers_refused: NotRequired[int]
    rounds: NotRequired[int]
    rounds_late: NotRequired[int]
    reload_accepted: NotRequired[bool]
    journal_bytes: NotRequired[int]
    undone: NotRequired[UndoneFacts]
