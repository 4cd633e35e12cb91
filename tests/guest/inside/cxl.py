"""The emulated CXL device as a memory node: a region made through sysfs, then onlined (drivers/cxl, kmem)."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

BUS = Path("/sys/bus/cxl/devices")
NODES = Path("/sys/devices/system/node")


def make_cxl_node() -> int:
    """Make the device's memory a node and return its number. Skips the test where the machine has no such device."""
    if not (BUS / "mem0").exists():
        pytest.skip(f"an emulated CXL device needs QEMU 10: {os.environ['PGHOT_GUEST_NOT_QEMU_10']}")
    before = set(NODES.glob("node[0-9]*"))
    Path("/sys/devices/system/memory/auto_online_blocks").write_text("online_movable")
    root = next(path for path in sorted(BUS.glob("decoder0.*")) if (path / "create_ram_region").exists())
    name = (root / "create_ram_region").read_text().strip()
    (root / "create_ram_region").write_text(name)
    endpoint = next(iter(sorted(BUS.glob("endpoint*/decoder*"))))
    size = (BUS / "mem0/ram/size").read_text().strip()
    (endpoint / "mode").write_text("ram")
    (endpoint / "dpa_size").write_text(size)
    region = BUS / name
    for key, value in (("interleave_granularity", "256"), ("interleave_ways", "1"), ("size", size)):
        (region / key).write_text(value)
    (region / "target0").write_text(endpoint.name)
    (region / "commit").write_text("1")
    Path("/sys/bus/cxl/drivers/cxl_region/bind").write_text(name)
    for _ in range(100):
        new = set(NODES.glob("node[0-9]*")) - before
        if new:
            return int(new.pop().name.removeprefix("node"))
        _to_kmem()
        time.sleep(0.1)
    raise RuntimeError("the CXL region became no memory node")


def _to_kmem() -> None:
    """Hand the dax device from device_dax to kmem, where it did not go by itself."""
    for device in Path("/sys/bus/dax/devices").glob("dax*"):
        driver = device / "driver"
        if driver.exists() and driver.resolve().name == "device_dax":
            (driver / "unbind").write_text(device.name)
            Path("/sys/bus/dax/drivers/kmem/new_id").write_text(device.name)
