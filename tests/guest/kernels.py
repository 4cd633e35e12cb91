"""Debian kernels that a guest can boot: the image, and the modules that the tests need."""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from pathlib import Path

from debian import fetch

# Version: suites (the last is the one) and meta package.
KERNELS = {
    "6.12": (("bookworm-security",), "linux-image-6.12-amd64"),
    "6.1": (("bookworm",), "linux-image-amd64"),
    "7.3": (("trixie-backports",), "linux-image-amd64"),
}

# In the order of loading. What a kernel has built in, as 6.12 has virtio, is no file of its package.
_BASE = (
    "drivers/virtio/virtio", "drivers/virtio/virtio_ring", "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev", "drivers/virtio/virtio_pci", "drivers/char/virtio_console",
    "fs/netfs/netfs", "fs/fscache/fscache", "net/9p/9pnet", "net/9p/9pnet_virtio", "fs/9p/9p",
)  # fmt: skip
CXL_MODULES = (
    "drivers/cxl/cxl_acpi", "drivers/cxl/cxl_pci", "drivers/cxl/cxl_mem",
    "drivers/dax/device_dax", "drivers/dax/kmem", "drivers/dax/dax_cxl",
)  # fmt: skip
# Compressed swap: zsmalloc and zswap are built in; brd is a disk for zswap to stand before.
SWAP_MODULES = (
    "lib/lz4/lz4_compress", "lib/lz4/lz4hc_compress", "drivers/block/zram/zram", "drivers/block/brd",
)  # fmt: skip
_KEPT = (
    "./boot/vmlinuz-*", "*/modules/*/vmlinuz", *(f"*/kernel/{name}.ko*" for name in _BASE),
    "*/kernel/drivers/cxl/*", "*/kernel/drivers/dax/*", *(f"*/kernel/{name}.ko*" for name in SWAP_MODULES),
)  # fmt: skip


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel package."""

    image: Path
    modules: Path

    def module(self, name: str) -> bytes | None:
        """A module as insmod takes it, None where it is built in."""
        path = next(self.modules.glob(f"{name}.ko*"), None)
        if path is None:
            return None
        return lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()

    def load(self, extra: tuple[str, ...] = ()) -> dict[str, bytes]:
        """File name and content of the modules to load, in order."""
        found = {Path(name).name + ".ko": self.module(name) for name in (*_BASE, *extra)}
        return {name: data for name, data in found.items() if data is not None}


def fetch_kernel(version: str, cache: Path) -> Kernel:
    """The kernel, unpacked once into the cache (12 MB of a package of 107). Raises `CannotFetchError`."""
    place = cache / f"linux-{version}"
    complete, kept = place / "complete", "\n".join(_KEPT)
    if not complete.exists() or complete.read_text() != kept:
        # Files of an older choice may be in use by a guest that runs: they are written over, not taken away.
        suites, meta = KERNELS[version]
        fetch(suites, [meta], place, _KEPT)
        complete.write_text(kept)
    image = next(iter([*place.glob("boot/vmlinuz-*"), *place.glob("usr/lib/modules/*/vmlinuz")]))
    modules = next(iter([*place.glob("lib/modules/*/kernel"), *place.glob("usr/lib/modules/*/kernel")]))
    return Kernel(image, modules)
