"""What a policy may ask of a machine, whether it is simulated or the one that pghot runs on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pghot.arrays import I64, U8, U32
from pghot.policies.decisions import HeldBack


@dataclass(slots=True)
class Moves:
    """What a `migrate` call did. `moved` holds the pages now on the target, `failed` those worth another try."""

    moved: U32
    failed: U32


class Machine(Protocol):
    """Memory nodes in tiers, and where each dense page is.

    place              uint8[pages]  node that holds each page, 255 = no node
    lower              bool[nodes]   True below the top tier
    rank               int64[nodes]  tier, 0 = top
    free_pages, capacity_pages, high_pages  int64[nodes]; the last is the high watermark
    top_nodes          the nodes of the top tier
    promotion_targets  for each node, the top-tier nodes in order of distance
    demotion_enabled   a full node makes room for promotions by demoting its coldest pages
    now_ns             the machine's clock
    budget_ends_with   why `pages_in_budget` is no larger: the mover has no time, or a rate limit holds
    hash_list_step_ns  time to step past one record of a hash list, where that is simulated; else 0
    """

    place: U8
    lower: npt.NDArray[np.bool_]
    rank: I64
    free_pages: I64
    capacity_pages: I64
    high_pages: I64
    top_nodes: tuple[int, ...]
    demotion_enabled: bool
    now_ns: float
    budget_ends_with: HeldBack

    @property
    def hash_list_step_ns(self) -> float: ...

    @property
    def promotion_targets(self) -> Sequence[Sequence[int]]: ...

    def room(self, node: int) -> int:
        """Pages that can be put on `node` without touching its reserve."""

    def pages_in_budget(self, thread: str, sleep_ns: float = 0.0) -> int:
        """Pages that `thread`, which sleeps so long between two rounds, may move now."""

    def migrate(self, page: U32, target: int, payer: str, batch_pages: int = 512) -> Moves:
        """Move distinct pages to `target`, as many as fit. Pages on no node, or there already, are left out."""

    def demote(self, page: U32, node: int, thread: str) -> int:
        """Move `page` from `node` to its demotion targets in order; returns how many moved."""

    def balance(self) -> None:
        """Demote from each node that is short of memory, up to its watermark."""

    def charge_tracking(self, app_ns: float, kernel_ns: float, thread: str) -> None:
        """Account for time that tracking took, where it is simulated."""
