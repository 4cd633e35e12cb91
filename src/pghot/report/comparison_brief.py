"""A comparison in a line: what was compared, and how it ended."""

from __future__ import annotations

from pghot.lab.results import Comparison
from pghot.lab.share_curves import ShareCurves
from pghot.printable import printable
from pghot.units import counted, format_share


def in_a_line(result: Comparison) -> str:
    """The trace, the tiers, how much was run, and the headline of the verdict."""
    setup = result.setup
    share = "" if setup.fast_share is None else f", fast share {format_share(setup.fast_share)}"
    return (
        f"{printable(f'of {setup.trace} on {setup.tiers}')}{share}: {counted(len(result.rows), 'run')}, "
        f"{counted(setup.seeds, 'seed')}, simulated. {result.verdict.sentences[0]}"
    )


def shares_in_a_line(found: ShareCurves) -> str:
    """The trace, the tiers, and the shares."""
    setup = found.comparisons[0].setup
    return (
        f"{printable(f'of {setup.trace} on {setup.tiers}')}: {counted(len(found.lines()), 'run')} at "
        f"{', '.join(format_share(share, 0) for share in found.shares)} of fast memory, simulated"
    )
