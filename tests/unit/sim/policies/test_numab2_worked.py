"""Kernel mode 2 in figures worked by hand: what promotes, who pays, and what is counted."""

from __future__ import annotations

import numpy as np
import pytest

from builders.policy_bed import Bed
from pghot.errors import UsageError
from pghot.sim.policies import POLICIES


def promoted(bed: Bed) -> list[int]:
    return np.flatnonzero(bed.machine.place[500:] == 0).tolist()  # type: ignore[no-any-return]


def test_the_options_are_the_kernels() -> None:
    assert POLICIES.options("numab2") == {
        "rate_limit_mb_s": 65536.0, "hot_threshold_ms": 1000, "threshold": True, "adaptation": True,
        "rate_limit": True,
    }  # fmt: skip
    for option, least, most in (("rate_limit_mb_s", 0, 1e9), ("hot_threshold_ms", 1, 1_000_000)):
        for value in (least, most):
            POLICIES.make("numab2", **{option: value})
        for value in (least - 1, most + 1):
            with pytest.raises(UsageError, match=f"numab2.{option}"):
                POLICIES.make("numab2", **{option: value})


@pytest.mark.parametrize(("at_ms", "many"), [(1_000, 1), (1_999, 1), (2_000, 2), (3_000, 3)])
def test_a_rate_limit_grants_whole_seconds_since_the_last_faults(at_ms: int, many: int) -> None:
    """One page a second is 4096 / 2**20 MiB/s."""
    bed = Bed("numab2", room=50, rate_limit_mb_s=4096 / (1 << 20), adaptation=False)
    bed.see(at_ms, *range(500, 510), latency_ms=5)
    assert len(promoted(bed)) == many
    assert bed.world.decisions.held_back() == {"rate": 10 - many}


def test_the_program_pays_for_each_page_that_it_promotes_in_its_fault() -> None:
    """No flush, as no TLB has an entry of it: three quarters of 1,240 ns to remap. The copy is timed with the slice."""
    bed = Bed("numab2", room=50)
    bed.see(1_000, 500, 501, latency_ms=5)
    assert bed.machine.ledger.moving_app_ns == 2 * 930
    assert bed.machine.kernel_threads == {}
    assert bed.policy.counters()["numa_hint_faults"] == 2
    assert bed.policy.counters()["pgpromote_candidate"] == 2
    assert bed.policy.tracker_bytes() == 0


def test_without_its_threshold_no_fault_is_too_late_for_the_least_of_them() -> None:
    bed = Bed("numab2", room=50, hot_threshold_ms=1, threshold=False)
    bed.see(1_000, 500, latency_ms=5)
    assert promoted(bed) == [0]


def test_a_round_in_which_nothing_faulted_is_told() -> None:
    bed = Bed("numab2", room=50)
    bed.see(100, 500, latency_ms=5)
    assert bed.act(100) == {}
    assert bed.act(200) == {"nothing seen": 1}
    bed.see(300, latency_ms=5)
    bed.see(300, 501)  # no fault
    assert bed.act(300) == {"nothing seen": 2}
    assert promoted(bed) == [0]


def test_pages_go_to_the_node_of_the_cpu_that_faulted() -> None:
    """On dram-cxl that is node 0 also for a CPU of the node that is not on top."""
    bed = Bed("numab2", room=2)
    bed.policy.start(bed.world)
    assert bed.machine.demotion_enabled
    gate = bed.policy._gate  # type: ignore[attr-defined]
    assert gate.threshold_ms(0) == 1_000
    bed.machine.demotion_enabled = False
    bed.see(10, 500, 501, 502, latency_ms=0)
    assert bed.world.decisions.held_back() == {"free space": 1}
    assert bed.act(10) == {"free space": 1}
