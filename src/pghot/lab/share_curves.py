"""`compare` over several sizes of the fast tier: a curve for each policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from pghot.lab.compare import Setting, compare
from pghot.lab.outcomes import SummaryRow
from pghot.lab.results import Comparison

SCHEMA = "pghot.compare-shares/1"


@dataclass(frozen=True, slots=True)
class ShareCurves:
    """Comparisons that differ in the fast tier's share of the footprint alone, by that share."""

    shares: Sequence[float]
    comparisons: Sequence[Comparison]

    def fast_bytes(self) -> list[float]:
        """What the fast tier of the real system holds, for each share."""
        return [
            float(
                sum(node.capacity_pages for node in each.setup.nodes if node.rank == 0)
                * each.setup.page_bytes
            )
            for each in self.comparisons
        ]

    def lines(self) -> list[tuple[SummaryRow, ...]]:
        """The runs: for each its row at every share."""
        found: list[tuple[SummaryRow, ...]] = list(
            zip(*(each.rows for each in self.comparisons), strict=True)
        )
        return found

    @property
    def summary(self) -> pa.Table:
        """The summaries as one Arrow table, with the columns `fast_share` and `fast_bytes` first."""
        parts = []
        for share, size, each in zip(self.shares, self.fast_bytes(), self.comparisons, strict=True):
            count = each.summary.num_rows
            part = each.summary.add_column(0, "fast_bytes", pa.array([size] * count))
            parts.append(part.add_column(0, "fast_share", pa.array([share] * count)))
        return pa.concat_tables(parts, promote_options="default")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values."""
        return {
            "schema": SCHEMA,
            "simulated": True,
            "shares": [
                {"fast_share": share, "fast_bytes": size, **each.to_dict()}
                for share, size, each in zip(self.shares, self.fast_bytes(), self.comparisons, strict=True)
            ],
        }


def compare_shares(
    shares: Sequence[float],
    *arguments: Any,
    setting: Setting,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **options: Any,
) -> ShareCurves:
    """`compare` with each of these shares for `setting.fast_share`; arguments and options as there."""

    def part(number: int) -> Callable[[int, int], None]:
        return lambda done, total: progress(number * total + done, len(shares) * total)

    return ShareCurves(
        shares,
        [
            compare(*arguments, setting=replace(setting, fast_share=share), progress=part(number), **options)
            for number, share in enumerate(shares)
        ],
    )
