"""The kernel's base page (PAGE_SIZE): 16 or 64 KiB on some arm64 and ppc64 kernels, with another pagemap index."""

from __future__ import annotations

import os

from pghot.kernel.needs import Need
from pghot.kernel.sysroot import SysRoot
from pghot.units import PAGE_BYTES, format_size


def base_page_needs(root: SysRoot) -> list[Need]:
    """What the whole live side needs: base pages of the size that pghot counts in.

    A captured tree does not show the size, so nothing is needed there.
    """
    page_bytes = os.sysconf("SC_PAGE_SIZE") if root.live else PAGE_BYTES
    if page_bytes == PAGE_BYTES:
        return []
    what = f"base pages of {format_size(PAGE_BYTES)}"
    why = f"this kernel's base pages are {format_size(page_bytes)}, and pghot knows {format_size(PAGE_BYTES)} only"
    return [
        Need(what, "unsupported", why, "a kernel with CONFIG_ARM64_4K_PAGES=y, where the CPU is an Arm one")
    ]
