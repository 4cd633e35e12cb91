"""The adversary's compiled engine, step by step beside the plain one; and what must hold after every step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pghot.rules import PROMOTE_ON_WRITE, RO_COW, AccessRule, device_rules
from pghot.safety.adversary.scene import Scene
from pghot.safety.adversary.state import (
    DEMOTED,
    DIRTY,
    LEAST,
    LEFT,
    LOST,
    NOW,
    ORDERS,
    REFUSED,
    REPORTED,
    SETTLING,
    USED,
    WARNED,
    State,
    new_state,
)
from pghot.safety.adversary.steps import COLD, OPERATIONS, WAIT, audit, play
from pghot.safety.margin import Host
from pghot.sim.compressed.device import CompressedDevice
from references.safety.adversary import Reference

PAGES = 12
DEVICES = [
    CompressedDevice(spoil="block", block=4096, line=512, granule=512),
    CompressedDevice(spoil="line", block=4096, line=512, granule=64, line_overhead=512),
    CompressedDevice(
        spoil="line", block=2048, line=256, granule=64, line_overhead=64, raw_after_lines=4, zero_flag=False
    ),
    CompressedDevice(spoil="line", block=4096, line=512, dedup=True),
]

scenes = st.builds(
    lambda device, host, rule, reserve, tenants, low: Scene(
        device.model_copy(
            update={
                "low_share": low,
                "high_share": low + 0.15,
                "report_us": host[0],
                "interrupt_us": host[1],
            }
        ),
        Host(
            llc=host[2] * device.line,
            write_gb_s=1.0,
            promotion_gb_s=host[3],
            batch_pages=host[4],
            grants=host[5],
            pinned=host[6] * 4096,
            kill_us=host[7],
            protect_us=host[8],
            flush=host[9],
            ask=host[10],
            charge=host[11],
            pin_promotes=host[12],
        ),
        6 * 4096,
        PAGES * 4096,
        rule,
        reserve,
        tenants,
    ),
    st.sampled_from(DEVICES),
    st.tuples(
        st.sampled_from([0.0, 0.6, 5.0]),
        st.sampled_from([0.0, 1.1]),
        st.integers(1, 24),
        st.sampled_from([0.0, 0.5, 4.0]),
        st.integers(1, 3),
        st.integers(1, 3),
        st.integers(0, 4),
        st.sampled_from([0.0, 3.0]),
        st.sampled_from([None, 0.0, 1.5]),
        st.booleans(),
        st.sampled_from(["page", "batch"]),
        st.sampled_from(["page", "growth", "line"]),
        st.booleans(),
    ),
    st.sampled_from(device_rules()),
    st.integers(0, 3 * 4096),
    st.integers(1, 3),
    st.sampled_from([0.05, 0.3]),
)
traces = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 300))


def trace(seed: int, length: int, lines: int) -> np.ndarray:
    """Random steps, demotions and stores more often than others; waits of up to 30 line times."""
    rng = np.random.default_rng(seed)
    weights = np.array([3, 6, 2, 6, 1, 1, 1, 1, 2, 2, 1], float)
    operations = rng.choice(len(OPERATIONS), length, p=weights / weights.sum())
    arguments = np.where(operations == WAIT, rng.integers(0, 30, length), rng.integers(0, lines, length))
    return np.stack([operations, rng.integers(0, PAGES, length), arguments], 1).astype(np.int32)


def picture(state: State) -> dict[str, Any]:
    """All that both engines must agree on."""
    v = state.var
    held = int(v[DIRTY])
    return {
        "now": int(v[NOW]),
        "used": int(v[USED]),
        "reported": int(v[REPORTED]),
        "settling": int(v[SETTLING]),
        "lost": int(v[LOST]),
        "least": int(v[LEAST]),
        "refused": int(v[REFUSED]),
        "warned": bool(v[WARNED]),
        "place": state.place.astype(bool).tolist(),
        "pinned": state.pinned.astype(bool).tolist(),
        "charge": state.charge.tolist(),
        "content": state.content.astype(bool).tolist(),
        "cache": list(
            zip(state.slot_line[:held].tolist(), state.slot_content[:held].astype(bool).tolist(), strict=True)
        ),
        "writable": (state.grant >= 0).tolist(),
        "moving": state.locked.astype(bool).tolist(),
    }


def reference_picture(ref: Reference) -> dict[str, Any]:
    return {
        "now": ref.now,
        "used": ref.used(),
        "reported": ref.reported,
        "settling": ref.settling,
        "lost": ref.lost,
        "least": ref.least,
        "refused": ref.refused,
        "warned": ref.warned,
        "place": [page.on_device for page in ref.pages],
        "pinned": [page.pinned for page in ref.pages],
        "charge": [0 if page.moving else page.charge for page in ref.pages],
        "content": [raw for page in ref.pages for raw in page.lines],
        "cache": ref.cache,
        "writable": [number in ref.granted for number in range(len(ref.pages))],
        "moving": [page.moving for page in ref.pages],
    }


@settings(max_examples=150, deadline=None)
@given(scenes, traces, st.sampled_from([0, 1]))
def test_every_step_is_the_references(scene: Scene, made: tuple[int, int], order: int) -> None:
    assert ORDERS[order] in ("fifo", "lifo")
    state, ref = new_state(scene, order), Reference(scene, order)
    steps = trace(*made, 4096 // scene.device.line)
    for number in range(len(steps)):
        before = state.place.copy(), int(state.var[REFUSED])
        play(state, steps[number : number + 1])
        ref.step(*steps[number].tolist())
        assert picture(state) == reference_picture(ref), (number, OPERATIONS[steps[number, 0]])
        hold(state, steps[number].tolist(), *before)


def hold(state: State, step: list[int], place: np.ndarray, refused: int) -> None:
    """The invariants: exact accounts; only demotions put a page on the device, and a refused one moves nothing."""
    operation, page, _ = step
    arrived = np.flatnonzero(state.place > place)
    assert audit(state) == state.var[USED]
    assert arrived.tolist() in ([], [page])
    assert not len(arrived) or operation == COLD
    if operation == COLD and state.var[REFUSED] > refused:
        assert not state.place[page]
    assert state.var[DEMOTED] - state.var[LEFT] == state.place.sum()


SOUND = Host(llc=4096, write_gb_s=1.0, promotion_gb_s=0.5, batch_pages=2, grants=2, pinned=8192)


@pytest.mark.parametrize("rule", [RO_COW, PROMOTE_ON_WRITE], ids=lambda rule: rule.name)
@settings(max_examples=60, deadline=None)
@given(traces, st.sampled_from(DEVICES), st.floats(0, 5))
def test_read_only_rules_lose_nothing_without_any_reserve(
    rule: AccessRule, made: tuple[int, int], device: CompressedDevice, report_us: float
) -> None:
    scene = Scene(device.model_copy(update={"report_us": report_us}), SOUND, 6 * 4096, PAGES * 4096, rule, 0)
    state = new_state(scene, made[0] % 3)
    play(state, trace(made[0], 20 * made[1], 4096 // device.line))
    assert state.var[LOST] == 0
    assert state.var[LEAST] >= 0
