"""QEMU 10 beside an older installed one: its packages, unpacked into a cache, never installed.

It brings an emulated CXL memory device that really is slower than DRAM, and emulates several CPUs at once.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

_PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def fetch_qemu10(place: Path) -> Path | None:
    """The directory with its `usr`, None when the package manager has no such version."""
    if (place / "complete").exists():
        return place
    shutil.rmtree(place, ignore_errors=True)
    for name in ("state/lists/partial", "cache/archives/partial"):
        (place / name).mkdir(parents=True)
    if (found := _release()) is None or shutil.which("dpkg-deb") is None:
        return None
    mirror, release = found
    key = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
    suites = (release, f"{release}-backports")
    (place / "sources.list").write_text("".join(f"deb {key}{mirror} {suite} main\n" for suite in suites))
    options = {
        "Dir::Etc::sourcelist": place / "sources.list", "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State": place / "state", "Dir::State::status": "/var/lib/dpkg/status", "Dir::Cache": place / "cache",
        "APT::Sandbox::User": "root",
    }  # fmt: skip
    apt = ["apt-get", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]
    fetched = all(
        subprocess.run([*apt, *words], cwd=place, capture_output=True, check=False).returncode == 0
        for words in (["update"], ["download", "-t", f"{release}-backports", *_PACKAGES])
    )
    if not fetched:
        return None
    for package in place.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, place], check=True)
        package.unlink()
    if _version(place) < 10:
        return None
    (place / "complete").touch()
    return place


def _release() -> tuple[str, str] | None:
    """The mirror and release that this machine's packages come from."""
    if shutil.which("apt-get") is None:
        return None
    targets = ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)"]
    text = subprocess.run(targets, capture_output=True, text=True, check=False).stdout
    match = re.search(r"^(\S+/debian) (\w+)$", text, re.MULTILINE)
    return (match[1], match[2]) if match else None


def _version(place: Path) -> int:
    done = subprocess.run([binary(place), "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"version (\d+)", done.stdout)
    return int(match[1]) if match else 0


def binary(place: Path) -> Path:
    return place / "usr/bin/qemu-system-x86_64"


def firmware(place: Path) -> list[str]:
    """Arguments that let it find its firmware."""
    return [word for name in ("qemu", "seabios") for word in ("-L", str(place / "usr/share" / name))]
