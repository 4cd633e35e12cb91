"""The types of the running kernel (CONFIG_DEBUG_INFO_BTF; kernel/bpf/btf.c): what it has, whatever its version says.

Kernels of enterprise distributions have features that are years younger than their version.
"""

from __future__ import annotations

from pghot.kernel.sysroot import SysRoot

BTF = "/sys/kernel/btf/vmlinux"


def in_btf(root: SysRoot, name: str) -> bool | None:
    """Whether the kernel has a type, member or enumerator of this name; None when it does not tell."""
    try:
        return b"\0" + name.encode() + b"\0" in root.read_bytes(BTF)
    except OSError:
        return None
