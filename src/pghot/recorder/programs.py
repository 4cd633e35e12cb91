"""What a command names: an ELF file that this machine's qemu runs, or a script and its interpreter."""

from __future__ import annotations

import os
import platform
import shutil
import stat
from pathlib import Path

from pghot.errors import UnsupportedError, UsageError
from pghot.kernel.regular_file import open_regular

# e_machine of the ELF header (elf.h), by the machine's name in uname.
_ELF_MACHINE = {"x86_64": 62, "aarch64": 183, "riscv64": 243, "s390x": 22, "ppc64le": 21, "loongarch64": 258}
_ELF_TYPES = (2, 3)  # ET_EXEC, and ET_DYN: what can be loaded anywhere (position-independent, static or not)
_ELF_HEAD_BYTES = 20
_MAX_SCRIPT_DEPTH = 4


def machine() -> str:
    """The name that qemu and the ELF header know this machine by."""
    return platform.machine()


def resolve(command: list[str]) -> list[str]:
    """The command with its program as a path to an ELF file; for a script, its interpreter comes first.

    Raises `UsageError` when there is no such program or it may not be executed, `UnsupportedError` when it
    is made for another machine.
    """
    path = _find(command[0])
    resolved = [path, *command[1:]]
    for _ in range(_MAX_SCRIPT_DEPTH):
        head = _head(resolved[0])
        if not head.startswith(b"#!"):
            _check_elf(head, resolved[0])
            return resolved
        line = os.fsdecode(head.split(b"\n")[0][2:]).strip()
        if not line:
            break
        resolved = [*line.split(None, 1), *resolved]
        if not os.path.exists(resolved[0]):
            raise UsageError(
                f"'{path}' is a script for '{resolved[0]}', which does not exist", "install that interpreter"
            )
    raise UsageError(
        f"'{path}' is a script without a usable interpreter", "name the interpreter in the command"
    )


def is_privileged(path: str) -> bool:
    """Whether the kernel would run the program as another user; under emulation it runs as the caller."""
    mode = os.stat(path).st_mode
    return bool(mode & (stat.S_ISUID | stat.S_ISGID))


def _find(name: str) -> str:
    path = shutil.which(name)
    if path is not None:
        return path
    if "/" in name and Path(name).is_dir():
        raise UsageError(f"'{name}' is a directory", "name the program in it")
    if "/" in name and Path(name).exists():
        raise UsageError(f"'{name}' is not executable", f"chmod +x {name}, or put its interpreter before it")
    raise UsageError(f"command not found: '{name}'", "check the spelling, or give the path of the program")


def _head(path: str) -> bytes:
    try:
        with open(open_regular(path), "rb") as file:
            return file.read(256)
    except OSError as error:
        raise UsageError(
            f"cannot read '{path}': {error.strerror}", "recording needs to read the program"
        ) from None


def _check_elf(head: bytes, path: str) -> None:
    if head[:4] != b"\x7fELF":
        raise UsageError(
            f"'{path}' is neither an ELF program nor a script with #!", "put its interpreter before it"
        )
    if len(head) < _ELF_HEAD_BYTES:
        raise UsageError(f"'{path}' ends within its ELF header", "copy or build the program anew")
    little = head[5] == 1
    found = int.from_bytes(head[18:20], "little" if little else "big")
    if head[4] != 2 or found != _ELF_MACHINE.get(machine(), found):
        raise UnsupportedError(
            f"'{path}' is a program for another machine (ELF machine {found}, {32 * head[4]} bit)",
            f"record a 64-bit program for {machine()}",
        )
    if int.from_bytes(head[16:18], "little" if little else "big") not in _ELF_TYPES:
        raise UsageError(
            f"'{path}' is an ELF file, but no program", "name a program, not an object or a core file"
        )
