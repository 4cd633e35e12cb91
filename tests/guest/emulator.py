"""Which QEMU boots the guest: the installed one, or version 10 beside an older one, unpacked but not installed.

Version 10 emulates several CPUs at once without dying of it, and a CXL memory device that really is slower than DRAM.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from debian import CannotFetchError, fetch, release

_NEEDED = (("qemu-system-x86_64", "qemu-system-x86"), ("busybox", "busybox-static"))
_PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios")


class CannotBootError(Exception):
    """What this machine lacks to boot a guest, in words."""


@dataclass(frozen=True)
class Emulator:
    """The command, and why it is not version 10 where it is not."""

    command: tuple[str, ...]
    version: int
    why_not_10: str = ""


@functools.cache
def find_emulator(cache: Path) -> Emulator:
    """QEMU 10 where it can be had, else the installed one. Raises `CannotBootError`."""
    for program, package in _NEEDED:
        if shutil.which(program) is None:
            raise CannotBootError(f"no {program} (package {package})")
    if b"/ld-linux" in busybox().read_bytes():
        raise CannotBootError("busybox is not the static one (package busybox-static)")
    installed = Emulator(("qemu-system-x86_64",), _version("qemu-system-x86_64"))
    if installed.version >= 10:
        return installed
    try:
        return _unpacked(cache / "qemu10")
    except CannotFetchError as lack:
        return Emulator(installed.command, installed.version, str(lack))


def busybox() -> Path:
    """The shell of the guest's first moments."""
    return Path(str(shutil.which("busybox")))


def _unpacked(place: Path) -> Emulator:
    """QEMU 10 from the backports of this machine's release, whose libraries it needs. Raises `CannotFetchError`."""
    if not (place / "complete").exists():
        shutil.rmtree(place, ignore_errors=True)
        fetch((release(), f"{release()}-backports"), _PACKAGES, place)
        (place / "complete").touch()
    program = str(place / "usr/bin/qemu-system-x86_64")
    if (version := _version(program)) < 10:
        raise CannotFetchError(f"the backported QEMU is of version {version}, or does not start here")
    firmware = [word for name in ("qemu", "seabios") for word in ("-L", str(place / "usr/share" / name))]
    return Emulator((program, *firmware), version)


def _version(program: str) -> int:
    """0 where it does not start."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"version (\d+)", done.stdout)
    return int(match[1]) if match else 0
