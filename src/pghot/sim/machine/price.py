"""`[price]` of a tiers file: what a GiB of each node costs, as its user says, and where that stands.

pghot ships no prices. They differ by buyer, and within weeks by a multiple.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field, model_validator

from pghot.documents import Strict

PerGib = Annotated[float, Field(ge=0, le=1e6)]


class Price(Strict):
    """What memory costs.

    currency  of all figures, as it is printed: "USD"
    source    who says so: an offer, a price list
    date      when it was so
    per_gib   of each node, by its name; 0: it is there already. Of a node that compresses: a GiB of its medium
    """

    currency: str = Field(min_length=1, max_length=8, pattern=r"^\S+$")
    source: str = Field(min_length=1, max_length=200)
    date: date
    per_gib: dict[str, PerGib]

    @model_validator(mode="after")
    def _not_all_free(self) -> Price:
        if not any(self.per_gib.values()):
            raise ValueError("no memory costs anything: there is nothing to compare")
        return self
