"""CPUs and the lists in which the kernel names them (lib/bitmap-str.c, drivers/base/cpu.c)."""

from __future__ import annotations

from pghot.kernel.sysroot import SysRoot

CPUS = "/sys/devices/system/cpu"
MOST = 1 << 16  # beyond the number of any CPU (NR_CPUS is 8192 at most) or memory node


def online_cpus(root: SysRoot) -> list[int]:
    """Numbers of the online CPUs."""
    return parse_list(root.read(f"{CPUS}/online"))


def parse_list(text: str) -> list[int]:
    """A kernel list of numbers of CPUs or nodes. Raises `ValueError` for anything else.

    >>> parse_list("0-2,5")
    [0, 1, 2, 5]
    """
    found: list[int] = []
    for part in text.strip(" \t\n\0").split(","):  # old kernels put a NUL behind some lists
        if part:
            first, _, last = part.partition("-")
            if int(last or first) > MOST:
                raise ValueError(f"no kernel has a CPU or node {last or first}")
            found += range(int(first), int(last or first) + 1)
    return found


def parse_map(text: str) -> list[int]:
    """A kernel bitmap: words of 32 bits in hexadecimal, the highest first.

    >>> parse_map("1,00000005")
    [0, 2, 32]
    """
    bits = int("".join(word.zfill(8) for word in text.strip(" \t\n\0").split(",")), 16)
    return [number for number in range(bits.bit_length()) if bits >> number & 1]


def possible_cpus(root: SysRoot) -> list[int]:
    """Numbers of the CPUs that can ever be online; just 0 when that cannot be read."""
    try:
        return parse_list(root.read_or(f"{CPUS}/possible", "0")) or [0]
    except ValueError:
        return [0]


def midr(root: SysRoot, cpu: int) -> int:
    """The identification register MIDR_EL1 of an Arm CPU, 0 for any other."""
    try:
        return int(root.read_or(f"{CPUS}/cpu{cpu}/regs/identification/midr_el1", "0"), 16)
    except ValueError:
        return 0
