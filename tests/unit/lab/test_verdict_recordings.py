"""Every sentence about every bundled recording, on shipped tiers and with little and much fast memory, is so."""

from __future__ import annotations

import os

import pytest

import pghot
from pghot.lab.compare import RunSpec
from pghot.recording.bundled import names
from pghot.sim.machine.topology import TOPOLOGIES
from references.lab.verdict_checker import check_verdict

SHARES = (0.05, 0.2, 0.5)
# One policy of each kind, in every class: what each of them decides is not tested here.
POLICIES = (
    "demotion", "interleave", "oracle-static", "oracle-epoch", "numab2", "hemem", "lru-bw", "pghot-default-f1",
    RunSpec("pghot-default", ("chmu",)),
)  # fmt: skip


@pytest.mark.heavy
@pytest.mark.parametrize("name", names())
def test_what_is_said_of_a_recording_is_so(name: str) -> None:
    """Each recording on every second of the tiers, each tiers with all shares, in turn; PGHOT_TEST_ALL=1: all with
    all."""
    everything, nth = os.environ.get("PGHOT_TEST_ALL"), names().index(name)
    for number, tiers in enumerate(TOPOLOGIES.names()):
        if not everything and (number + nth) % 2:
            continue
        for share in SHARES if everything else [SHARES[(number + nth) // 2 % len(SHARES)]]:
            result = pghot.compare(
                f"bundled:{name}", tiers, POLICIES, fast_share=share, seeds=2, duration_s=3
            )
            check_verdict(result.verdict, result.rows, result.setup.footprint_pages)
