"""What can be recorded and with which qemu: said before anything is compiled."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from pghot.cli.main import run
from pghot.recorder import recorder
from pghot.recorder.build import find_emulator
from pghot.recorder.programs import machine, resolve

X86_64 = pytest.mark.skipif(machine() != "x86_64", reason="the headers here are of a machine of another kind")

# As qemu-x86_64 10.0.11 of bookworm-backports answers: static, and without the option.
WITHOUT_PLUGINS = """#!/bin/sh
case "$1" in
--version) echo "qemu-x86_64 version 10.0.11 (Debian 1:10.0.11+ds-0+deb13u1~bpo12+1)" ;;
-h) echo "usage: qemu-x86_64 [options] program [arguments...]"
    echo "Argument             Env-variable      Description"
    echo "-cpu model           QEMU_CPU          select CPU (-cpu help for list)"
    echo "-version             QEMU_VERSION      display version information and exit" ;;
*) echo "qemu: unknown option '${1#-}'" >&2; exit 1 ;;
esac
"""


def elf(bits: int = 64, little: bool = True, kind: int = 2, machine: int = 62) -> bytes:
    """The head of an ELF file."""
    order = "<" if little else ">"
    ident = b"\x7fELF" + bytes([bits // 32, 1 if little else 2, 1]) + bytes(9)
    return ident + struct.pack(f"{order}HH", kind, machine) + bytes(100)


def recording(
    program: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Exit code and error of `pghot record`; nothing is compiled, and no file is made or replaced."""

    def compiles(emulator: object) -> Path:
        raise AssertionError("compiled")

    monkeypatch.setattr(recorder, "plugin_path", compiles)
    path = program.parent / "x.pghot"
    path.write_text("former")
    code = run(["record", "--force", str(path), "--", str(program)])
    assert path.read_text() == "former"
    assert [each.suffix for each in program.parent.iterdir() if each.name.startswith(".")] == []
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("pghot: error: ")
    assert hint.startswith("hint: ")
    return code, error + hint


@X86_64
@pytest.mark.parametrize(
    ("head", "code", "said"),
    [
        (elf(32, machine=3), 3, "a program for another machine (ELF machine 3, 32 bit)"),  # i386
        (elf(32, machine=62), 3, "(ELF machine 62, 32 bit)"),  # x32
        (elf(32, machine=40), 3, "(ELF machine 40, 32 bit)"),  # arm
        (elf(machine=183), 3, "(ELF machine 183, 64 bit)"),  # aarch64
        (elf(little=False, machine=22), 3, "(ELF machine 22, 64 bit)"),  # s390x
        (elf(little=False, machine=21), 3, "(ELF machine 21, 64 bit)"),  # ppc64, big
        (elf(machine=243), 3, "(ELF machine 243, 64 bit)"),  # riscv64
        (elf(kind=1), 2, "is an ELF file, but no program"),  # an object
        (elf(kind=4), 2, "is an ELF file, but no program"),  # a core
        (elf()[:4], 2, "ends within its ELF header"),
        (elf()[:19], 2, "ends within its ELF header"),
        (b"", 2, "neither an ELF program nor a script"),
        (b"MZ" + bytes(100), 2, "neither an ELF program nor a script"),
        (b"#!\n", 2, "without a usable interpreter"),
        (b"#!/no/such\n", 2, "which does not exist"),
        (b"#!/tmp\n", 2, "Is a directory"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_compiled(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    head: bytes,
    code: int,
    said: str,
) -> None:
    (tmp_path / "program").write_bytes(head)
    (tmp_path / "program").chmod(0o755)
    found, error = recording(tmp_path / "program", monkeypatch, capsys)
    assert (found, said in error) == (code, True), error


@X86_64
def test_a_script_of_a_foreign_interpreter_is_refused_and_its_interpreter_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sh").write_bytes(elf(machine=183))
    (tmp_path / "script").write_text(f"#!{tmp_path / 'sh'} -e\n")
    for name in ("sh", "script"):
        (tmp_path / name).chmod(0o755)
    code, error = recording(tmp_path / "script", monkeypatch, capsys)
    assert code == 3
    assert f"'{tmp_path / 'sh'}' is a program for another machine" in error


@X86_64
def test_programs_that_can_run(tmp_path: Path) -> None:
    for name, kind in (("at its address", 2), ("anywhere, as static-pie", 3)):
        (tmp_path / name).write_bytes(elf(kind=kind))
        (tmp_path / name).chmod(0o755)
        assert resolve([str(tmp_path / name), "-x"]) == [str(tmp_path / name), "-x"]


@pytest.mark.parametrize("executable", [True, False])
def test_a_qemu_without_plugins_is_named_and_so_is_the_package_that_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], executable: bool
) -> None:
    qemu = tmp_path / f"qemu-{machine()}"
    qemu.write_text(WITHOUT_PLUGINS if executable else "\x00 no program")
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "true").symlink_to(shutil.which("true") or "")
    code, error = recording(tmp_path / "true", monkeypatch, capsys)
    assert code == 3
    if executable:
        assert f"{qemu} (qemu 10.0) was built without plugins, which recording needs" in error
        assert "apt-get install qemu-user/bookworm" in error
    else:
        assert "does not state its version" in error


@pytest.mark.skipif(shutil.which(f"qemu-{machine()}") is None, reason="not installed: qemu-user")
def test_the_qemu_of_this_machine_is_seen_as_what_it_is() -> None:
    """That its help names the option is what QEMU's own source does (linux-user/main.c)."""
    plugins = subprocess.run(
        [f"qemu-{machine()}", "-plugin", "help"], capture_output=True, text=True, check=False
    )
    assert "unknown option" not in plugins.stderr
    assert find_emulator().version >= (4, 2)
