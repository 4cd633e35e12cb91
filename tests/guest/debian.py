"""Debian packages, fetched by apt and unpacked into a cache but never installed.

apt gets lists and a cache of its own, which needs no root, no configured suite and leaves the machine's apt alone.
Only the mirror and the keys are the machine's.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class CannotFetchError(Exception):
    """Why a package cannot be had, in words."""


def fetch(suites: Sequence[str], packages: Sequence[str], place: Path, keep: Sequence[str] = ()) -> None:
    """Unpack the packages, with `keep` only the files of these patterns, into `place`. Raises `CannotFetchError`.

    A meta package brings the kernel that it stands for: versions move, the names of meta packages do not.
    """
    with tempfile.TemporaryDirectory(prefix="pghot-apt") as scratch:
        apt = _Apt(Path(scratch), suites)
        for package in [real for name in packages for real in apt.parts(name)]:
            _unpack(apt.download(package), place, keep)


def release() -> str:
    """The machine's own release, such as "bookworm". Raises `CannotFetchError`."""
    return _mirror()[1]


class _Apt:
    """apt with a list of suites of its own."""

    def __init__(self, place: Path, suites: Sequence[str]) -> None:
        self.place, self.suites = place, suites
        for name in ("lists/partial", "cache/archives/partial"):
            (place / name).mkdir(parents=True)
        key = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
        mirrors = ((suite, _mirror()[0] + ("-security" if "security" in suite else "")) for suite in suites)
        sources = place / "sources.list"
        sources.write_text("".join(f"deb {key}{mirror} {suite} main\n" for suite, mirror in mirrors))
        options = {
            "Dir::Etc::sourcelist": sources, "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": place / "lists", "Dir::Cache": place / "cache", "APT::Sandbox::User": "root",
            "APT::Update::Error-Mode": "any", "Acquire::http::Timeout": "20", "Acquire::https::Timeout": "20",
        }  # fmt: skip
        self._options = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        self._run("apt-get", "update")

    def parts(self, package: str) -> list[str]:
        """The package and what of a kernel it depends on: from Debian 13 on, image, binary and modules are apart."""
        depends = self._run("apt-cache", "depends", "-t", self.suites[-1], package)
        names = re.findall(r"Depends: (linux-(?:image|binary|modules)-\S+)", depends)
        return list(dict.fromkeys([package, *(part for name in names for part in self.parts(name))]))

    def download(self, package: str) -> Path:
        # The last suite is the one that is wanted: a backport ranks below the release beside it.
        self._run("apt-get", "download", "-t", self.suites[-1], package)
        return next(self.place.glob(f"{package}_*.deb"))

    def _run(self, *words: str) -> str:
        command = [words[0], *self._options, *words[1:]]
        done = subprocess.run(command, cwd=self.place, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = done.stderr.strip()[-200:]
            raise CannotFetchError(f"{' '.join(words)} ({' '.join(self.suites)}): {reason}")
        return done.stdout


def _unpack(package: Path, place: Path, keep: Sequence[str]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    only = ["--wildcards", *keep] if keep else []
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as tar:
        # A pattern without a file is no error: what a kernel has built in is no module.
        subprocess.run(
            ["tar", "-x", "-C", place, *only], stdin=tar.stdout, stderr=subprocess.DEVNULL, check=False
        )
    if tar.returncode:
        raise CannotFetchError(f"{package.name} cannot be unpacked into {place}")


@functools.cache
def _mirror() -> tuple[str, str]:
    """The mirror and the release that this machine's packages come from."""
    for program, package in (("apt-get", "apt"), ("dpkg-deb", "dpkg")):
        if shutil.which(program) is None:
            raise CannotFetchError(f"no {program} (package {package}; this machine is no Debian)")
    targets = ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)"]
    text = subprocess.run(targets, capture_output=True, text=True, check=False).stdout
    match = re.search(r"^(\S+/debian) (\w+)$", text, re.MULTILINE)
    if match is None:
        raise CannotFetchError("apt has no mirror of Debian configured")
    return match[1], match[2]
