"""How pages are moved: the `[mover]` table of the daemon's configuration, and the options of `pghot run`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from pghot.documents import Strict
from pghot.errors import UsageError
from pghot.live.machine.rate_goal import Goal, parse_goal
from pghot.policies.live_rules import AGEING_MS, BATCH_PAGES, FREE_FLOOR, OLDEST, RATE_LIMIT_MB_S
from pghot.units import parse_share

# A page's age is counted no further.
LONGEST_COLD_S = OLDEST * AGEING_MS / 1000

# "move_pages": pghot moves what its policy finds hot; "damos": the kernel's DAMON finds and moves pages
# (`pghot.live.damos.damos`).
MoverKind = Literal["move_pages", "damos"]
# Who makes room on a full node. "move_pages": pghot demotes the tracked pages that were not seen for longest;
# "reclaim": memory.reclaim of the tracked cgroups (Linux >= 5.19); "lru_gen": their oldest generation of the multi-gen
# LRU; "off": nobody. With "reclaim" and "lru_gen" the kernel picks the pages, and demotion_enabled must be on.
# "auto": "move_pages" with a source that sees the top tier, else "lru_gen", in cgroups of which every program is
# tracked. memory.reclaim must be asked for: it takes from every node of a cgroup, and swaps out what is on the lowest.
DemotionKind = Literal["auto", "move_pages", "reclaim", "lru_gen", "off"]


def _goal(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_goal(value)
    except UsageError as error:
        raise ValueError(f"{error}; {error.hint}") from None


Target = Annotated[Goal | None, BeforeValidator(_goal)]


class MoverSettings(Strict):
    """How pages are moved. Raises pydantic's `ValidationError` for a value out of range.

    kind             who finds and moves pages
    rate_limit_mb_s  promotions, MiB/s
    free_floor       share of a target node that stays free; its high watermark stays free in any case. Text such as
                     "5%" is read as well
    target           a goal that moves the rate below its limit
    batch_pages      pages in one move_pages call
    demotion         who makes room on a full node
    compressed       compressed swap is one more tier: pages that were not seen for `cold_after_s` go there
    """

    kind: MoverKind = "move_pages"
    rate_limit_mb_s: float = Field(RATE_LIMIT_MB_S, ge=0.001, le=1e6)
    free_floor: float = Field(FREE_FLOOR, ge=0, le=1)
    batch_pages: int = Field(BATCH_PAGES, ge=1, le=65536)
    target: Target = None
    demotion: DemotionKind = "auto"
    compressed: bool = False
    cold_after_s: float = Field(30.0, gt=0, le=LONGEST_COLD_S)

    @field_validator("free_floor", mode="before")
    @classmethod
    def _share(cls, value: Any) -> Any:
        if isinstance(value, float):
            return value
        try:
            return parse_share(str(value))
        except UsageError as error:
            raise ValueError(f"{error}; {error.hint}") from None

    def room_by(self, unseen_is_cold: bool) -> Literal["move_pages", "reclaim", "lru_gen", "off"]:
        """Who picks what goes down. `unseen_is_cold`: see `live_rules.unseen_is_cold`."""
        if self.demotion == "auto":
            return "move_pages" if unseen_is_cold else "lru_gen"
        return self.demotion

    @property
    def kernel_demotes(self) -> bool:
        """Whether the kernel was named to pick the pages that make room."""
        return self.demotion in ("reclaim", "lru_gen")
