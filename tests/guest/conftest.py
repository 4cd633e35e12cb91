"""Which tests run where: those in `inside` only in the guest, the others only outside."""

from __future__ import annotations

import os

import pytest

INSIDE = "PGHOT_GUEST" in os.environ

collect_ignore = [] if INSIDE else ["inside"]


def pytest_configure(config: pytest.Config) -> None:
    for name in ("two_tiers", "three_tiers", "cxl"):
        config.addinivalue_line("markers", f"{name}: runs in the guest with such memory")
