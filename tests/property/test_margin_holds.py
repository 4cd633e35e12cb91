"""The calculator's reserve holds for hosts and devices nobody thought of: no named attack loses data with it."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pghot.rules import RO_COW, device_rules
from pghot.safety.adversary.attacks import ATTACKS, attack
from pghot.safety.adversary.scene import Scene
from pghot.safety.adversary.state import ORDERS
from pghot.safety.adversary.trial import run_attack
from pghot.safety.margin import Host
from pghot.sim.compressed.device import DEVICES, CompressedDevice, load_device

REAL = 1024 * 4096


def device(name: str, **keys: object) -> CompressedDevice:
    return load_device(name).model_copy(update={"low_share": 1e-6, "high_share": 0.5, **keys})


devices = st.builds(
    device,
    st.sampled_from(DEVICES.names()),
    interrupt_us=st.sampled_from([0, 10, 300]),
    report_us=st.sampled_from([0, 1, 50]),
    low_share=st.sampled_from([1e-6, 0.05, 0.3]),
    block=st.sampled_from([64, 256, 1024, 4096]),
    line_overhead=st.sampled_from([0, 8, 64]),
    zero_flag=st.booleans(),
)
hosts = st.builds(
    Host,
    llc=st.sampled_from([1 << 16, 1 << 20, 4 << 20]),
    write_gb_s=st.sampled_from([1, 5, 26]),
    promotion_gb_s=st.sampled_from([0, 1, 200, 5000]),
    batch_pages=st.sampled_from([1, 8, 64]),
    grants=st.sampled_from([1, 7, 300]),
    pinned=st.sampled_from([0, 1 << 20, 64 << 20]),
    kill_us=st.sampled_from([0, 10, 1000]),
    protect_us=st.sampled_from([None, 0, 50, 5000]),
    flush=st.booleans(),
    ask=st.sampled_from(["page", "batch"]),
    charge=st.sampled_from(["page", "growth", "line"]),
    pin_promotes=st.booleans(),
)


@settings(deadline=None)
@given(
    devices,
    hosts,
    st.sampled_from(device_rules()),
    st.sampled_from([1, 10, 200]),
    st.integers(1, 4),
    st.sampled_from(list(ATTACKS)),
    st.sampled_from(ORDERS),
    st.sampled_from([0.0, 0.3]),
)
@example(
    device("line-64", report_us=1),
    Host(charge="line", grants=1, llc=4 << 20, batch_pages=1),
    RO_COW, 10, 2, "line-after-line", "lifo", 0.3,
)  # fmt: skip
def test_no_named_attack_loses_data_with_the_calculators_reserve(
    device, host, rule, more_pages, tenants, name, order, noise
):
    scene = Scene(device, host, REAL, REAL + more_pages * 4096, rule, 0, tenants)
    needed = scene.needed()
    assume(needed < scene.real)
    scene = scene.with_reserve(math.ceil(needed))
    strategy = replace(attack(name, scene), order=order, noise=noise, hold=1.0)
    assert not run_attack(scene, strategy).lost_writes
